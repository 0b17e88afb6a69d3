"""Read what asv has stored and set the algorithms side by side, PyTorch among them.

asv compares commits.  This prints a table for each benchmark: a row for each point of its axis, a
column for each algorithm, the best of them marked; for timings also PyTorch's time over fastconv's.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path

from fastconv.comparison import asv_results, pivot
from fastconv.comparison.asv_results import Run
from fastconv.comparison.pivot import TIME, Table
from fastconv.core import text

from . import output
from .errors import Failure

HELP = "set the algorithms of stored asv results side by side"
_PEER = "torch"
_RATIOS = ("auto", "fastest")
_FORMATS = {TIME: text.duration, "bytes": text.amount}  # by unit
_HEADER = (
    "machine", "commit", "environment", "benchmark", "unit", "axis", "point", "algorithm",
    "state", "value", "first_quartile", "third_quartile", f"{_PEER}_ratio",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    results = Path("bench/.asv/results")
    add("--results", type=Path, default=results, metavar="DIR", help=f"asv's folder ({results})")
    add("--commit", metavar="HASH", help="its beginning will do (the newest with results)")
    add("--machine", metavar="NAME", help="as asv calls it (all)")
    add("--benchmark", type=_pattern, metavar="REGEX", help="found in a benchmark's name (all)")
    add("--csv", type=Path, metavar="FILE.csv", help="write every value to a file, too")


def _pattern(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def run(args: argparse.Namespace) -> int:
    if args.csv is not None:
        output.check(args.csv, ".csv")
    try:
        found = list(_tables(args))
    except ValueError as error:
        raise Failure(str(error)) from None
    if not found:
        raise Failure(f"no benchmark with an algorithm in {str(args.results)!r} has such a name")
    for title, group in itertools.groupby(found, key=_title):
        print(f"{title}\n")
        for _, table in group:
            print(*_lines(table), "", sep="\n")
    if args.csv is not None:
        _write(args.csv, found)
    return 0


def _tables(args: argparse.Namespace) -> Iterator[tuple[Run, Table]]:
    stored = asv_results.load(args.results)
    for run in asv_results.select(stored.runs, args.machine, args.commit):
        for table in pivot.tables(stored, run):
            if args.benchmark is None or args.benchmark.search(table.benchmark):
                yield run, table


def _title(pair: tuple[Run, Table]) -> str:
    run, _ = pair
    return f"commit {run.commit[:8]} on {run.machine}, {run.environment}"


def _lines(table: Table) -> list[str]:
    """The table, without the algorithms that never ran; those are named below it."""
    ran = {name for point in table.points for name in table.ran(point)}
    names = [name for name in table.algorithms if name in ran]
    ratios = _RATIOS if table.unit == TIME and _PEER in ran else ()
    header = [f"  {table.axis}", *names, *(f"{_PEER}/{ratio}" for ratio in ratios)]
    rows = []
    for point in table.points:
        best, taken = table.best(point), table.ratios(point, _PEER)
        cells = [_cell(table, point, name, best) for name in names]
        cells += [f"{taken[ratio]:.2f}" if ratio in taken else "" for ratio in ratios]
        rows.append((f"  {point}", *cells))
    absent = [name for name in table.algorithms if name not in ran]
    foot = [f"  not run: {', '.join(absent)}"] if absent else []
    return [f"{table.benchmark}, {table.unit}", *text.table(header, rows), *foot]


def _cell(table: Table, point: str, algorithm: str, best: str | None) -> str:
    value = table.values[point, algorithm]
    if value is None:
        return "failed"
    if math.isnan(value):
        return "–"
    shown = _FORMATS.get(table.unit, "{:.4g}".format)(value)
    return f"★ {shown}" if algorithm == best else shown


def _write(path: Path, found: list[tuple[Run, Table]]) -> None:
    with (
        output.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for run, table in found:
            head = (run.machine, run.commit, run.environment)
            head += (table.benchmark, table.unit, table.axis)
            writer.writerows((*head, *record) for record in _records(table))


def _records(table: Table) -> Iterator[tuple]:
    for (point, name), value in table.values.items():
        ran = table.ran(point)
        state = "failed" if value is None else "ran" if name in ran else "skipped"
        ratio = ran[_PEER] / ran[name] if table.unit == TIME and {_PEER, name} <= ran.keys() else ""
        yield point, name, state, ran.get(name, ""), *table.quartiles[point, name], ratio
