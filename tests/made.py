"""Results that were never measured: known times, so that what a report says can be checked."""

from __future__ import annotations

from fastconv.comparison.results import Entry, Host, Results
from fastconv.conv.measuring import Measured
from fastconv.conv.outcome import Pass
from fastconv.core.problem import DIRECTIONS, ConvProblem

HOST = Host(
    "a machine", "avx2", 1, 100.0, 20.0, {"fastconv": "0", "torch": "1"}, "2025-01-02T03:04"
)
RATES = {"direct": 50.0, "winograd": 80.0, "fft": 20.0, "torch": 40.0}  # GFLOP/s on 3×3 filters


def problem(c=8, r=3, direction="forward", **changes) -> ConvProblem:
    """A layer of ``c`` channels whose filter keeps the image's size."""
    whole = ConvProblem(2, c, 16, 16, c, r, r, padding=(r // 2,) * 4, direction=direction)
    return whole._replace(**changes)


def row(name: str, one: ConvProblem, rate: float, spread: float = 0.01, **changes) -> Measured:
    """A measurement of ``rate`` effective GFLOP/s, its spread in parts of the time."""
    seconds = one.flops / rate / 1e9
    peer = name == "torch"
    inside = {"workspace": None, "executed": None} if peer else {"executed": rate * 0.9}
    whole = Measured(name, None, seconds, rate, 1e-6, spread=spread * seconds, runs=9)
    return whole._replace(**inside | changes)


def entry(one: ConvProblem, rates=RATES, chosen="direct", layer=None, **rows) -> Entry:
    """A layer under the algorithms of ``rates``; ``rows`` replaces what is said of some."""
    made = {name: row(name, one, rate) for name, rate in rates.items()} | rows
    name = layer or f"r{one.R}-c{one.C}"
    return Entry(name, Pass(one, 1, 100.0, chosen, "predicted", tuple(made.values())))


def grid(sizes=(1, 3, 5), channels=(8, 16), directions=DIRECTIONS) -> Results:
    """A table of crossings: FFT gains with the filter, and nothing but direct runs 1×1."""
    entries = []
    for direction in directions:
        for c in channels:
            for r in sizes:
                one = problem(c, r, direction)
                rates = RATES | {"fft": 20.0 * r, "winograd": 80.0 - 5 * r}
                cannot = {"winograd": Measured("winograd", "nothing to save")} if r == 1 else {}
                entries.append(entry(one, rates, **cannot))
    return Results(HOST, tuple(entries))


def results(*entries) -> Results:
    return Results(HOST, entries)


ONE = problem()
FORWARD = grid(directions=("forward",))
FAMILY = grid(channels=(8,), directions=("forward",)).entries
