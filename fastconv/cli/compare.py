"""Measure every algorithm on layers of yours or of known networks, PyTorch beside them.

Each pass is shown as soon as it is measured.  With --json it is also kept, so that an interrupted
comparison can go on with --resume.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastconv.comparison import allocation, study
from fastconv.comparison.results import Entry, Host, Results
from fastconv.conv import _peers
from fastconv.conv.compare import usual
from fastconv.conv.registry import ALGORITHMS

from . import output, selection
from .arguments import positive
from .errors import Usage
from .requirements import require

if TYPE_CHECKING:
    from rich.console import Console

HELP = "measure every algorithm on layers, and PyTorch beside them"
_SECONDS = 0.05  # for each algorithm, which makes the whole table of layers a matter of minutes
_WIDTH = 120  # of the tables where no terminal limits it


def _page(results: Results) -> str:
    from fastconv.report import render

    return render(results)


FILES: dict[str, Callable[[Results], str]] = {
    "json": Results.to_json,
    "csv": Results.to_csv,
    "html": _page,
}


def arguments(parser: argparse.ArgumentParser) -> None:
    selection.arguments(parser)
    add = parser.add_argument
    usually = "all but the slow reference"
    names = f"some of {', '.join(ALGORITHMS)} (default: {usually})"
    add("--algorithms", nargs="+", choices=ALGORITHMS, metavar="NAME", help=names)
    peers = f"libraries beside: {', '.join(_peers.PEERS)} (default: those installed)"
    add("--peers", nargs="*", choices=_peers.PEERS, metavar="NAME", help=peers)
    seconds = f"of measuring each algorithm on each pass ({_SECONDS})"
    add("--seconds", type=positive, default=_SECONDS, metavar="S", help=seconds)
    for kind, what in (("json", "all figures"), ("csv", "a line a row"), ("html", "the report")):
        add(f"--{kind}", type=Path, metavar="FILE", help=f"a file to write: {what}")
    add("--resume", action="store_true", help="do not measure again what the --json FILE holds")


def run(args: argparse.Namespace) -> int:
    cases = selection.cases(args)
    how = _settings(args)
    files = {kind: path for kind in FILES if (path := getattr(args, kind)) is not None}
    for kind, path in files.items():
        output.check(path, f".{kind}")
    if "html" in files:
        require("--html", "report", "matplotlib")
    before = _before(args)
    allocation.keep_memory()
    with selection.asked(args):
        host = study.host(args.dtype, how.peers)
        _compare(_Job(cases, how, host, _kept(args.json, before, host), files))
    return 0


def _settings(args: argparse.Namespace) -> study.Settings:
    peers = [name for name in _peers.PEERS if _peers.installed(name)]
    for name in args.peers or ():
        if name not in peers:
            raise Usage(f"--peers: {name} is not installed: pip install 'fastconv[peers]'")
    beside = peers if args.peers is None else dict.fromkeys(args.peers)
    algorithms = dict.fromkeys(args.algorithms or usual())
    return study.Settings(tuple(algorithms), tuple(beside), args.seconds)


def _before(args: argparse.Namespace) -> Results | None:
    """What the file holds that is to be gone on with."""
    if args.resume and args.json is None:
        raise Usage("--resume goes on with the file that --json names")
    if not args.resume or not args.json.exists():
        return None
    try:
        return Results.from_json(args.json.read_text(encoding="utf-8"))
    except OSError as error:
        raise Usage(f"cannot read {str(args.json)!r}: {error.strerror}") from None
    except ValueError as error:
        raise Usage(f"cannot resume {str(args.json)!r}: {error}") from None


def _kept(path: Path, before: Results | None, host: Host) -> study.Entries:
    try:
        return {} if before is None else study.resumed(before, host)
    except ValueError as error:
        raise Usage(f"cannot resume {str(path)!r}: {error}") from None


class _Job(NamedTuple):
    """What is to be measured, what is, and where it goes."""

    cases: list[study.Case]
    how: study.Settings
    host: Host
    entries: study.Entries
    files: dict[str, Path]

    def write(self, *kinds: str) -> None:
        results = study.results(self.host, self.entries)
        for kind in (kind for kind in kinds if kind in self.files):
            with output.replacing(self.files[kind]) as file:
                file.write_text(FILES[kind](results), encoding="utf-8")


def _compare(job: _Job) -> None:
    """Measure and show pass by pass; whatever ends this, what was measured is summed up."""
    from .console import console

    screen = console(_WIDTH)
    done: list[Entry] = []
    try:
        _measure(screen, job, done)
    finally:
        if done:
            _conclude(screen, job, done)


def _measure(screen: Console, job: _Job, done: list[Entry]) -> None:
    from . import measured
    from .console import progress

    with progress(screen, len(job.cases)) as begin:
        for case in job.cases:
            begin(f"{case.layer}  {case.problem.direction}")
            entry = job.entries[case] = study.entry(case, job.how, job.entries)
            done.append(entry)
            job.write("json")
            screen.print(measured.passed(entry))


def _conclude(screen: Console, job: _Job, done: list[Entry]) -> None:
    from . import measured

    if len({entry.layer for entry in done}) > 1:
        screen.print(measured.summary(done, job.how.peers), "")
    screen.print(measured.LEGEND, style="dim")
    job.write(*FILES)
