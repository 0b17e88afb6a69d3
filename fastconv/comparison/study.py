"""A study: many passes measured one after the other, so that it can be watched, kept, resumed."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NamedTuple

import fastconv
from fastconv.conv import compare, options
from fastconv.core import threads
from fastconv.core.machine import machine, processor_name
from fastconv.core.problem import ConvProblem
from fastconv.simd import limits

from .layers import Layer
from .results import Entry, Host, Results

_LIMIT_SECONDS = 0.1  # of measuring the peak, and the bandwidth


class Case(NamedTuple):
    """One pass to measure."""

    layer: str
    problem: ConvProblem


class Settings(NamedTuple):
    """How each is measured; the accuracy asked for is that of the present options."""

    algorithms: tuple[str, ...]
    peers: tuple[str, ...]
    seconds: float  # for each algorithm and peer


Entries = dict[Case, Entry]


def cases(
    layers: Iterable[Layer], directions: Iterable[str], dtype: str, memory_format: str
) -> list[Case]:
    """The passes asked for, of those that are of interest of each layer; each once."""
    changes: dict[str, Any] = {"dtype": dtype, "x_format": memory_format, "y_format": memory_format}
    some = [
        Case(layer.name, layer.problem._replace(direction=direction, **changes))
        for layer in layers
        for direction in directions
        if direction in layer.directions
    ]
    return list(dict.fromkeys(some))


def entry(case: Case, how: Settings, kept: Entries) -> Entry:
    """A case measured: one that is kept and was measured like this, or now."""
    known = kept.get(case)
    if known is not None and _like_this(known, how):
        return known
    return Entry(case.layer, compare.measured(case.problem, *how))


def _like_this(known: Entry, how: Settings) -> bool:
    was = known.measured
    names = tuple(row.algorithm for row in was.rows)
    asked = (options.request(), how.seconds, (*how.algorithms, *how.peers))
    return (was.asked, was.budget, names) == asked


def host(dtype: str, peers: Iterable[str]) -> Host:
    """This host, as it is now."""
    workers = threads.get_num_threads()
    return Host(
        processor=processor_name(),
        isa=machine().isa.name,
        threads=workers,
        peak=limits.fma_peak(dtype, workers, _LIMIT_SECONDS) / 1e9,
        bandwidth=limits.bandwidth(workers, seconds=_LIMIT_SECONDS) / 1e9,
        versions={
            "fastconv": fastconv.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "numba", *peers)},
        },
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def resumed(before: Results, now: Host) -> Entries:
    """What results of this host hold; ``ValueError`` says how the host differs."""
    for name in ("processor", "isa", "threads", "versions"):
        then, today = getattr(before.host, name), getattr(now, name)
        if then != today:
            raise ValueError(f"it was measured with {name} {then}, here it is {today}")
    return {Case(e.layer, e.measured.problem): e for e in before.entries}


def results(host: Host, entries: Entries) -> Results:
    """All that is measured so far; the host's peak is the best that was seen beside any of it.

    Others' entries, which were resumed, may be of another dtype: each knows its own peak.
    """
    peaks = [entry.measured.peak for entry in entries.values()]
    return Results(host._replace(peak=max(host.peak, *peaks)), tuple(entries.values()))
