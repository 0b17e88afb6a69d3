"""``fastconv report``: what it writes, and what it says of wrong files."""

from __future__ import annotations

import json

import pytest
from made import FORWARD, HOST

from fastconv import cli, report
from fastconv.comparison.results import Results
from fastconv.report import gallery, image


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(FORWARD.to_json())
    return path


def test_command_writes_the_page_and_the_plots(written, tmp_path, capsys):
    target, folder = tmp_path / "page.html", tmp_path / "plots"
    argv = ["report", str(written), "--html", str(target), "--plots", str(folder)]
    assert cli.main(argv) == 0
    assert target.read_text(encoding="utf-8") == report.render(FORWARD)
    expected = {f"{name}{suffix}" for name in gallery.PLOTS for suffix in image.SUFFIXES}
    assert {file.name for file in folder.iterdir()} == expected
    out, err = capsys.readouterr()
    assert err == "" and str(target) in out


EXPECTED = "expected the JSON that fastconv compare --json writes"
WRONG = [
    (None, "No such file or directory; " + EXPECTED),
    ("", "these are no results of a comparison: Expecting value"),
    ("{", "these are no results of a comparison"),
    (b"\xff\xfe", "codec can't decode"),
    ("[1]", "these are no results of a comparison"),
    (json.dumps({"fastconv": "comparison", "format": 99}), "it is of another kind or format"),
    (Results(HOST, ()).to_json(), f"they hold no measured layer; {EXPECTED}"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_command_names_the_file_that_is_wrong(content, message, tmp_path, capsys):
    path, target = tmp_path / "given.json", tmp_path / "page.html"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cli.main(["report", str(path), "--html", str(target)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"results {str(path)!r}" in err and message in err
    assert not target.exists()


def test_command_checks_where_it_writes(written, capsys):
    for argv, message in (
        ([], "the following arguments are required: --html"),
        (["--html", "page.pdf"], "must end in .html"),
        (["--html", "page.html", "--plots", str(written)], "cannot be made: File exists"),
    ):
        assert cli.main(["report", str(written), *argv]) == 2
        assert message in capsys.readouterr().err


def test_command_needs_matplotlib(written, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["report", str(written), "--html", str(tmp_path / "page.html")]) == 1
    assert "needs matplotlib: pip install 'fastconv[report]'" in capsys.readouterr().err
