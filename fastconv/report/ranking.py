"""Who was faster on one pass: the winner, how sure that is, and what the selector made of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from fastconv.conv.compare import Pass
from fastconv.conv.measuring import Measured


def ran(one: Pass) -> list[Measured]:
    """The rows that were measured, the fastest first."""
    rows = [row for row in one.rows if row.reason is None and row.seconds > 0]
    return sorted(rows, key=lambda row: row.seconds)


def is_peer(row: Measured) -> bool:
    """Whether a measured row is another library's."""
    return row.executed is None


def family(algorithm: str) -> str:
    """The name without the tile: ``winograd4`` is ``winograd`` with a tile that was asked for."""
    return algorithm.rstrip("0123456789")


def best_of_families(one: Pass) -> list[Measured]:
    """The fastest row of each family, the fastest first."""
    best: dict[str, Measured] = {}
    for row in ran(one):
        best.setdefault(family(row.algorithm), row)
    return list(best.values())


def uncertain(one: Pass) -> bool:
    """Whether the first and the second family are closer than their times are known."""
    best = best_of_families(one)
    if len(best) < 2:
        return False
    first, second = best[:2]
    return second.seconds - first.seconds <= (first.spread + second.spread) / 2


def chosen(one: Pass) -> Measured | None:
    """What the selector took; None if that was not measured."""
    return next((row for row in ran(one) if row.algorithm == one.chosen), None)


def regret(one: Pass) -> float | None:
    """How much longer the selector's choice takes than the fastest algorithm: 0 is best."""
    choice = chosen(one)
    own = [row for row in ran(one) if not is_peer(row)]
    return choice.seconds / own[0].seconds - 1 if choice else None


def fastest_peer(one: Pass) -> Measured | None:
    return next((row for row in ran(one) if is_peer(row)), None)


def ratio(one: Pass) -> float | None:
    """The fastest peer's time over that of the selector's choice: above 1 fastconv is faster."""
    choice, peer = chosen(one), fastest_peer(one)
    return peer.seconds / choice.seconds if choice and peer else None


def mean(ratios: Iterable[float]) -> float:
    return statistics.geometric_mean(ratios)
