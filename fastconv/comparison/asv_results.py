"""What asv has stored: a folder for each machine, in it a file for each commit and environment.

Beside the folders, ``benchmarks.json`` says what the benchmarks are.  All of it is plain JSON: asv
itself is not needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

_DESCRIPTIONS, _MACHINE = "benchmarks.json", "machine.json"
_VERSION = 2  # of both kinds of files
_T = TypeVar("_T")


class Benchmark(NamedTuple):
    """What ``benchmarks.json`` says of one."""

    name: str
    unit: str
    param_names: tuple[str, ...]
    version: str


class Outcome(NamedTuple):
    """One benchmark in one run: a value for each element of the product of ``params``.

    A value is None where the benchmark failed, and NaN where it was skipped.
    """

    params: tuple[tuple[str, ...], ...]  # as Python writes the values
    version: str
    values: tuple[float | None, ...]
    quartiles: tuple[tuple[float | None, float | None], ...]  # first and third, of timings


class Run(NamedTuple):
    """One file: what one commit did on one machine in one environment."""

    machine: str
    commit: str
    date: int  # of the commit, in milliseconds
    environment: str
    outcomes: dict[str, Outcome]


class Stored(NamedTuple):
    """All of a folder of results."""

    benchmarks: dict[str, Benchmark]
    runs: tuple[Run, ...]


def load(folder: Path) -> Stored:
    """What asv stored in ``folder``.

    Raises ``ValueError`` that names the folder or file and says what was expected.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}: expected one that asv run has made")
    files = sorted(path for path in folder.glob("*/*.json") if path.name != _MACHINE)
    if not files:
        raise ValueError(
            f"folder {str(folder)!r} has no results: expected files <machine>/<commit>-*.json, "
            "which asv run writes"
        )
    benchmarks = _read(folder / _DESCRIPTIONS, _benchmarks)
    return Stored(benchmarks, tuple(_read(path, _run) for path in files))


def select(runs: Iterable[Run], machine: str | None, commit: str | None) -> list[Run]:
    """The runs on ``machine`` (None: on each) of ``commit``, which may be the beginning of a hash.

    None stands for the newest commit of each machine.  Raises ``ValueError`` where there is none.
    """
    found = [run for run in runs if machine in (None, run.machine)]
    if not found:
        raise ValueError(f"machine {machine!r} has no results: expected one of {_names(runs)}")
    if commit is None:
        newest = {run.machine: run.commit for run in sorted(found, key=lambda run: run.date)}
        return [run for run in found if run.commit == newest[run.machine]]
    commits = {run.commit for run in found}
    matching = {known for known in commits if known.startswith(commit)}
    if len(matching) != 1:
        several = "stands for several" if matching else "has no results"
        known = ", ".join(sorted(name[:8] for name in matching or commits))
        raise ValueError(f"commit {commit!r} {several}: expected one of {known}")
    return [run for run in found if run.commit in matching]


def _names(runs: Iterable[Run]) -> str:
    return ", ".join(sorted({run.machine for run in runs}))


def _read(path: Path, parse: Callable[[dict[str, Any]], _T]) -> _T:
    """The file, parsed; whatever is wrong with it is a ``ValueError`` that names it."""
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != _VERSION:
            raise ValueError(f"its version is {content['version']!r}")
        return parse(content)
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except KeyError as error:
        fault = f"it has no {error}"
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        fault = str(error)
    raise ValueError(
        f"{str(path)!r} is no file of asv's: expected JSON of version {_VERSION}, but {fault}"
    )


def _benchmarks(content: dict[str, Any]) -> dict[str, Benchmark]:
    return {
        name: Benchmark(name, fields["unit"], tuple(fields["param_names"]), fields["version"])
        for name, fields in content.items()
        if name != "version"
    }


def _run(content: dict[str, Any]) -> Run:
    columns = content["result_columns"]
    outcomes = {
        name: _outcome(
            name, dict(zip(columns, row, strict=False))
        )  # a row leaves out its last None
        for name, row in content["results"].items()
    }
    machine, commit = content["params"]["machine"], content["commit_hash"]
    return Run(machine, commit, content["date"], content["env_name"], outcomes)


def _outcome(name: str, fields: dict[str, Any]) -> Outcome:
    """A column that is missing stands for nothing but None."""
    params = tuple(map(tuple, fields["params"]))
    points = math.prod(map(len, params))

    def column(key: str) -> list:
        values = fields.get(key)
        return [None] * points if values is None else values

    values = column("result")
    if len(values) != points:
        raise ValueError(f"{name} has {len(values)} results for {points} parameters")
    quartiles = tuple(zip(column("stats_q_25"), column("stats_q_75"), strict=True))
    return Outcome(params, fields["version"], tuple(values), quartiles)
