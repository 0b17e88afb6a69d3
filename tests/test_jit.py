"""Compilation: nothing at import, once per machine, in a directory that knows its sources."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from processes import ROOT, finish, run, start

from fastconv.core import cache, files

# Counts what numba compiles while the body of a script runs.
COUNT = """
    import json, os, sys
    from numba.core import event

    recorder = event.RecordingListener()
    event.register("numba:run_pass", recorder)

    def compiled():
        return sorted({e.data["qualname"] for _, e in recorder.buffer if e.is_start})
"""

USE = """
    import numpy as np
    import fastconv as fc
    from fastconv.core import jit

    rng = np.random.default_rng(0)
    results = []
    for groups in (1, 24):
        x = rng.normal(size=(2, 24, 20, 21)).astype("f4")
        w = rng.normal(size=(48, 24 // groups, 3, 3)).astype("f4")
        dy = rng.normal(size=(2, 48, 20, 21)).astype("f4")
        for algorithm in fc.algorithms():
            how = dict(padding=1, groups=groups, algorithm=algorithm)
            for call in (
                lambda: fc.conv2d(x, w, **how),
                lambda: fc.grad.conv2d_input(x.shape, w, dy, **how),
                lambda: fc.grad.conv2d_weight(x, w.shape, dy, **how),
            ):
                try:
                    results.append(float(np.abs(call()).sum()))
                except ValueError as refused:
                    assert "cannot run" in str(refused)
    kernels = [(k.name, k.from_cache) for k in jit.kernels]
    print(json.dumps({"kernels": kernels, "compiled": compiled(), "results": results}))
"""


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_second_process_compiles_nothing(tmp_path):
    first = json.loads(run(COUNT + USE, FASTCONV_CACHE_DIR=str(tmp_path)))
    assert first["kernels"] and first["compiled"]
    assert not any(from_cache for _, from_cache in first["kernels"])
    files = _files(tmp_path)
    assert len(files) > len(first["kernels"])
    second = json.loads(run(COUNT + USE, FASTCONV_CACHE_DIR=str(tmp_path)))
    assert second["compiled"] == []
    assert second["kernels"] == [[name, True] for name, _ in first["kernels"]]
    assert second["results"] == first["results"]
    assert _files(tmp_path) == files


def test_processes_fill_an_empty_cache_at_once(tmp_path):
    script = """
    import numpy as np
    import fastconv as fc
    x = np.arange(16 * 30 * 30.0).reshape(1, 16, 30, 30)
    print(fc.conv2d(x, np.ones((16, 16, 3, 3))).sum(), len(compiled()))
    """
    both = [start(COUNT + script, FASTCONV_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    sums = {finish(process).split()[0] for process in both}
    third, compilations = run(COUNT + script, FASTCONV_CACHE_DIR=str(tmp_path)).split()
    assert sums == {third}
    assert compilations == "0"


# Kernels that differ only in what they close over, each with what it found wrong.
VARIANTS = """
    import json, sys, time
    import numpy as np
    from fastconv.core import jit
    from fastconv.core.stage import Stage
    from fastconv.simd.copying import put_word

    def made(value):
        @jit.kernel(jit.record("out"))
        def write(worker, a):
            put_word(a.out, value)
        return write

    values = range(40)[:: int(sys.argv[1])]
    while time.time() < float(sys.argv[2]):
        pass
    wrong = []
    for value in values:
        out = np.full(1, -1)
        Stage(made(value), 1).run(out=out.ctypes.data)
        wrong += [value] * int(out[0] != value)
    print(json.dumps([wrong, sum(k.from_cache for k in jit.kernels)]))
"""


def test_processes_compile_variants_of_one_function_at_once(tmp_path):
    """Two that meet in the middle of the same forty; neither runs, nor leaves, the wrong one."""
    together, environment = time.time() + 4, {"FASTCONV_CACHE_DIR": str(tmp_path)}
    both = [start(VARIANTS, order, together, **environment) for order in (1, -1)]
    assert [json.loads(finish(process))[0] for process in both] == [[], []]
    assert json.loads(run(VARIANTS, 1, 0, **environment)) == [[], 40]


AT_ONCE = """
    import json, threading
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np
    from fastconv.core import jit, machine_code
    from fastconv.core.stage import Stage
    from fastconv.simd.copying import put_word

    # Whoever is first to optimise waits until another one is, too.
    both, optimise = threading.Barrier(2, timeout=60), machine_code.optimise

    def together(module, name):
        if len(jit.kernels) == before:
            both.wait()
        optimise(module, name)

    def made(value):
        @jit.kernel(jit.record("out"))
        def write(worker, a):
            put_word(a.out, value)
        return write

    def written(value):
        out = np.full(1, -1)
        Stage(made(value), 1).run(out=out.ctypes.data)
        return int(out[0])

    written(-7)  # the launcher
    before = len(jit.kernels)
    machine_code.optimise = together
    with ThreadPoolExecutor(2) as pool:
        print(json.dumps(list(pool.map(written, [3, 4, 5, 5, 6, 7]))))
"""


def test_threads_compile_at_once(tmp_path):
    """LLVM is at two kernels at a time, also at the same one."""
    assert json.loads(run(AT_ONCE, FASTCONV_CACHE_DIR=str(tmp_path))) == [3, 4, 5, 5, 6, 7]


def test_variants_saved_at_once_keep_their_code(tmp_path, monkeypatch):
    """The second is saved while the first is about to appear."""
    saved = cache.Files(str(tmp_path), "name")
    replace = files.replace

    def interrupted(path, content):
        monkeypatch.setattr(files, "replace", replace)
        saved.save(("variant", 2), "code of 2")
        replace(path, content)

    monkeypatch.setattr(files, "replace", interrupted)
    saved.save(("variant", 1), "code of 1")
    assert [saved.load(("variant", i)) for i in (1, 2, 3)] == ["code of 1", "code of 2", None]


def test_damaged_code_is_compiled_again(tmp_path):
    """Cut short, of another kernel, no code at all, or with one bit changed."""
    environment = {"FASTCONV_CACHE_DIR": str(tmp_path)}
    assert json.loads(run(VARIANTS, 8, 0, **environment)) == [[], 0]
    paths = sorted(tmp_path.rglob(f"*write*{cache.SUFFIX}"))
    whole = [path.read_bytes() for path in paths]
    assert len(whole) == 5
    changed = bytearray(whole[4])
    changed[-200] ^= 1  # in the machine code: its key is at the beginning
    damaged = (whole[0][:-9], whole[2], b"", b"nothing", changed)
    for path, content in zip(paths, damaged, strict=True):
        path.write_bytes(content)
    assert json.loads(run(VARIANTS, 8, 0, **environment)) == [[], 0]
    assert json.loads(run(VARIANTS, 8, 0, **environment)) == [[], 5]


def test_import_compiles_nothing_and_loads_nothing_optional():
    script = """
    import fastconv
    from fastconv.core import jit
    assert jit.kernels == [] and compiled() == [], compiled()
    print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))
    """
    optional = ("matplotlib", "sklearn", "torch", "rich")
    assert json.loads(run(COUNT + script, *optional)) == []


def test_unwritable_cache_is_a_warning(tmp_path):
    """A folder below a file cannot be made, not even by root."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    script = """
    import warnings
    import numpy as np
    import fastconv as fc
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = fc.conv2d(np.ones((1, 8, 6, 6)), np.ones((16, 8, 3, 3)))
        fc.conv2d(np.ones((1, 8, 6, 6)), np.ones((16, 8, 3, 3)), padding=1)
    assert (y == 72).all()
    print(json.dumps([(w.category.__name__, str(w.message)) for w in caught]))
    """
    caught = json.loads(run(COUNT + script, FASTCONV_CACHE_DIR=str(blocked / "cache")))
    assert [category for category, _ in caught] == ["RuntimeWarning"]
    assert str(blocked) in caught[0][1] and "FASTCONV_CACHE_DIR" in caught[0][1]


DIRECTORY = """
    from fastconv.core import cache
    print(cache.source_digest(), cache.cache_directory())
"""


@pytest.mark.parametrize(
    ("edited", "new_cache"),
    [
        (None, False),
        ("simd/vector.py", True),
        ("core/jit.py", True),
        ("conv/direct.py", True),
        ("plans/blocked/direct_kernel.py", True),
        ("grad.py", False),
    ],
)
def test_cache_directory_is_named_after_the_kernel_sources(tmp_path, edited, new_cache):
    base = str(tmp_path / "cache")
    copy = tmp_path / "copy"
    shutil.copytree(
        ROOT / "fastconv", copy / "fastconv", ignore=shutil.ignore_patterns("__pycache__")
    )
    if edited:
        with (copy / "fastconv" / edited).open("a") as file:
            file.write("# edited\n")
    digest, folder = run(DIRECTORY, FASTCONV_CACHE_DIR=base).split()
    assert folder.startswith(base) and folder.endswith(digest)
    other, elsewhere = run(DIRECTORY, package=copy, FASTCONV_CACHE_DIR=base).split()
    assert elsewhere.endswith(other)
    assert (other != digest) == (elsewhere != folder) == new_cache
