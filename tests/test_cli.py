"""The command line: what it prints, its exit codes, and one line for each mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import fastconv
from fastconv import cli
from fastconv.cli.errors import Failure
from fastconv.cli.output import replacing
from fastconv.conv import listening
from fastconv.conv.options import Request
from fastconv.core import cache, machine


def fails(capsys, argv: list[str]) -> tuple[int, str]:
    """The exit code of a command line that fails, and its one line of complaint."""
    code = cli.main(argv)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("fastconv: ") and captured.err.count("\n") == 1
    return code, captured.err


def succeeds(capsys, argv: list[str]) -> str:
    assert cli.main(argv) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def process(*argv: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *argv],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=60,
    )


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"fastconv {fastconv.__version__}\n"


@pytest.mark.parametrize("command", [(), *((name,) for name in cli.COMMANDS)])
def test_help_names_every_option(capsys, command):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    expected = {
        (): cli.COMMANDS,
        ("bench",): ("--results", "--commit", "--machine", "--benchmark", "--csv"),
        ("demo",): ("--epochs", "--output", "--seed", "--quick"),
        ("compare",): (
            "WHAT",
            "--stride",
            "--padding",
            "--dilation",
            "--groups",
            "--passes",
            "--algorithms",
            "--peers",
            "--format",
            "--dtype",
            "--accuracy",
            "--threads",
            "--seconds",
            "--json",
            "--csv",
            "--html",
            "--resume",
        ),
        ("explain",): ("WHAT", "--stride", "--batch", "--passes", "--format", "--threads"),
        ("info",): ("--json",),
        ("warmup",): ("--layer", "--demo", "--dtype", "--format", "--algorithm", "--threads"),
        ("report",): ("RESULTS.json", "--html", "--plots"),
    }
    assert all(word in text for word in expected[command])


LAYER, ODD = "8x16x9x9:32x16x3x3", "8x16x9x9:31x16x3x3"
MISTAKES = [
    ([], "a command is needed: demo, compare, explain, report, bench, info, warmup"),
    (["train"], "invalid choice: 'train'"),
    (["info", "--yaml"], "unrecognized arguments: --yaml"),
    (["info", "--js"], "unrecognized arguments: --js"),
    (["demo", "--epochs", "0"], "--epochs: must be an integer ≥ 1, got '0'"),
    (["demo", "--epochs", "3.5"], "--epochs: must be an integer ≥ 1, got '3.5'"),
    (["demo", "--seed", str(2**31)], "--seed: must be below 2**31, got '2147483648'"),
    (["demo", "--output", 300 * "a" + ".png"], "cannot be written: File name too long"),
    (["demo", "--output", "a\0.png"], "cannot be written: embedded null"),
    (["demo", "--seed", "-1"], "--seed: must be an integer ≥ 0, got '-1'"),
    (["demo", "--output", "/nowhere/at/all/x.png"], "there is no folder '/nowhere/at/all'"),
    (["demo", "--output", "curve.jpg"], "'curve.jpg' must end in .png"),
    (["warmup"], "nothing to warm up: name layers with --layer, or ask for --demo"),
    (["warmup", "--layer"], "--layer: expected at least one argument"),
    (["warmup", "--dtype", "float16"], "--dtype: invalid choice: 'float16'"),
    (["warmup", "--format", "hwc"], "--format: invalid choice: 'hwc'"),
    (["warmup", "--passes", "back"], "--passes: invalid choice: 'back'"),
    (["warmup", "--layer", "8x16x9x9"], "expected NxCxHxW:KxCxRxS[:s2p1d1g1]"),
    (["warmup", "--layer", f"{LAYER}:s1:p1"], "expected NxCxHxW:KxCxRxS[:s2p1d1g1]"),
    (["warmup", "--layer", "8x16x9:32x16x3x3"], "input '8x16x9' is not four positive sizes"),
    (["warmup", "--layer", "0x16x9x9:32x16x3x3"], "input '0x16x9x9' is not four positive sizes"),
    (["warmup", "--layer", "8x16x9x9:32x16xax3"], "weight '32x16xax3' is not four positive"),
    (["warmup", "--layer", f"{LAYER}:q7"], "cannot read 'q7', expected s, p, d or g"),
    (["warmup", "--layer", f"{LAYER}:s2p"], "cannot read 'p', expected s, p, d or g"),
    (["warmup", "--layer", f"{LAYER}:s2s1"], "stride is given twice in 's2s1'"),
    (["warmup", "--layer", f"{LAYER}:s0"], "stride must be at least 1, got 0"),
    (["warmup", "--layer", f"{LAYER}:g2x2"], "groups must be an int"),
    (["warmup", "--layer", f"{LAYER}:s2psame"], "padding='same' needs stride 1"),
    (["warmup", "--layer", f"{LAYER}:g3"], "groups must divide"),
    (["warmup", "--layer", "8x16x9x9:32x8x3x3"], "input has 16 channels but weight expects 8"),
    (["warmup", "--layer", "8x16x2x2:32x16x3x3"], "kernel is larger than the padded input"),
    (["warmup", "--layer", LAYER, "8x16x2x2:32x16x3x3"], "layer '8x16x2x2:32x16x3x3': kernel"),
    (["warmup", "--layer", LAYER, ODD, "--algorithm", "strassen"], f"--algorithm: {ODD}: "),
    (["warmup", "--layer", f"{10**9}x{10**9}x9x9:32x{10**9}x3x3"], "layer '1000000000x"),
]


@pytest.mark.parametrize(("argv", "message"), MISTAKES)
def test_mistakes_get_one_line_and_exit_code_2(capsys, argv, message):
    code, line = fails(capsys, argv)
    assert code == 2
    assert message in line


def test_output_must_not_be_a_folder(capsys, tmp_path):
    folder = tmp_path / "plots.png"
    folder.mkdir()
    assert fails(capsys, ["demo", "--output", str(folder)])[0] == 2


def test_output_must_be_writable(capsys, tmp_path, monkeypatch):
    def refuse(self, *arguments, **settings):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    code, line = fails(capsys, ["demo", "--output", str(tmp_path / "x.png")])
    assert code == 2 and "cannot be written: Permission denied" in line


@pytest.mark.parametrize(
    ("error", "seen"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError(28, "full"), Failure)]
)
def test_what_breaks_off_leaves_the_output_as_it_was(tmp_path, error, seen):
    path = tmp_path / "x.json"
    path.write_text("before")
    with pytest.raises(seen), replacing(path) as temporary:
        temporary.write_text("half of it")
        raise error
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "before"


def test_interrupt_and_lack_of_memory_leave_cleanly(capsys, monkeypatch):
    for error, code, word in ((KeyboardInterrupt, 130, "interrupted"), (MemoryError, 1, "memory")):

        def run(args, error=error):
            raise error

        monkeypatch.setattr(cli.info, "run", run)
        ended, line = fails(capsys, ["info"])
        assert ended == code and word in line


def test_warnings_are_one_line_on_stderr(capsys, monkeypatch):
    def run(args):
        warnings.simplefilter("default")
        warnings.warn("no writable cache", RuntimeWarning, stacklevel=2)
        return 0

    monkeypatch.setattr(cli.info, "run", run)
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().err == "fastconv: warning: no writable cache\n"


def test_closed_pipe_leaves_cleanly():
    script = f"'{sys.executable}' -m fastconv info --json | head -c 1"
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "{" and ended.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device on this platform")
def test_a_full_stdout_gets_one_line():
    script = f"'{sys.executable}' -m fastconv info --json >/dev/full"
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr == "fastconv: [Errno 28] No space left on device\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_closed_stdout_is_survived():
    script = f"'{sys.executable}' -m fastconv info --json >&-"
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_terminal_of_unknown_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert "numba" in succeeds(capsys, ["info"])


def test_without_a_compiler_the_import_says_so():
    ended = process("-c", "import fastconv", NUMBA_DISABLE_JIT="1")
    assert ended.returncode == 1
    assert ended.stderr.endswith("unset NUMBA_DISABLE_JIT\n")


def test_info_json_tells_what_the_library_uses(capsys):
    facts = json.loads(succeeds(capsys, ["info", "--json"]))
    isa = machine.machine().isa
    assert facts["versions"]["fastconv"] == fastconv.__version__
    assert set(facts["versions"]) == {"fastconv", "python", "numpy", "numba", "llvmlite"}
    assert facts["processor"]["isa"] == isa.name
    assert facts["processor"]["vector_bits"] == 8 * isa.vector_bytes
    assert facts["vectors"]["float32"]["lanes"] == 2 * facts["vectors"]["float64"]["lanes"]
    rows, columns = map(int, facts["vectors"]["float64"]["tiles"][0].split("x"))
    assert (rows, columns * 8) == (isa.tiles[0][0], isa.tiles[0][1] * isa.vector_bytes)
    assert facts["threads"]["threads"] == fastconv.get_num_threads()
    layers = ("omp", "tbb", "workqueue") if fastconv.get_num_threads() > 1 else ("none",)
    assert facts["threads"]["layer"] in layers
    assert facts["cache"]["directory"] == cache.cache_directory()
    assert facts["cache"]["kernels"] > 0 and facts["cache"]["bytes"] > 0


def test_info_text(capsys):
    text = succeeds(capsys, ["info"])
    for word in ("numba", machine.machine().isa.name, "register tile", "threading layer", "cache"):
        assert word in text


def test_info_without_a_cache(capsys, monkeypatch):
    monkeypatch.setattr(cache, "cache_directory", lambda: None)
    assert json.loads(succeeds(capsys, ["info", "--json"]))["cache"]["directory"] is None


def test_warmup_leaves_a_warm_cache(tmp_path):
    argv = ("-m", "fastconv", "warmup", "--layer", "2x4x5x5:8x4x3x3:p1", "--passes", "forward")
    cold, warm = (process(*argv, FASTCONV_CACHE_DIR=str(tmp_path)) for _ in range(2))
    for ended in (cold, warm):
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "2x4x5x5:8x4x3x3:p1  float32  nchw  forward" in ended.stdout
    compiled, cached = (
        int(re.search(pattern, ended.stdout)[1])
        for pattern, ended in ((r"(\d+) kernels compiled", cold), (r"(\d+) from the cache", warm))
    )
    assert compiled == cached > 0
    assert "\n0 kernels compiled" in warm.stdout and " 0 from the cache" in cold.stdout
    assert re.search(r"    \w+ +\d+\.\d\d s\n", cold.stdout)
    assert re.search(r"    \w+ +cached\n", warm.stdout)


def test_warmup_covers_every_case_asked_for(capsys):
    layers = ["1x2x4x6:4x1x3x3:psameg2", "1x2x3x3:4x2x1x1:s2x1d2"]
    argv = ["warmup", "--layer", *layers, "--format", "nhwc", "nchw"]
    argv += ["--passes", "backward_weight", "forward"]
    lines = [line for line in succeeds(capsys, argv).splitlines() if "  →  " in line]
    cases = [tuple(line.split("  →  ")[0].split("  ")) for line in lines]
    assert cases == [
        (layer, "float32", order, direction)
        for layer in layers
        for order in ("nhwc", "nchw")
        for direction in ("backward_weight", "forward")
    ]
    assert all(line.split("  →  ")[1] in fastconv.algorithms() for line in lines)


def test_warmup_pads_as_the_layer_says(capsys):
    seen = []
    with listening.told(lambda problem, asked, threads: seen.append(problem.padding)):
        succeeds(capsys, ["warmup", "--layer", "1x2x4x6:4x2x2x3:psame", "1x2x4x6:4x2x2x3:p1x0"])
    assert seen == 3 * [(0, 1, 1, 1)] + 3 * [(1, 1, 0, 0)]


def test_warmup_of_one_algorithm_under_some_conditions(capsys):
    argv = ["warmup", "--layer", "1x2x4x6:4x2x3x3", "--passes", "forward"]
    seen = []
    with listening.told(lambda problem, asked, threads: seen.append((asked, threads))):
        text = succeeds(
            capsys, [*argv, "--algorithm", "im2col", "--accuracy", "strict", "--threads", "1"]
        )
    assert "  →  im2col\n" in text
    assert seen == [(Request("im2col", "strict"), 1)]


def test_nothing_heavy_is_imported_to_start():
    script = (
        "import sys, fastconv.cli; heavy = {'matplotlib', 'sklearn', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert process("-c", script).stdout == "[]\n"
