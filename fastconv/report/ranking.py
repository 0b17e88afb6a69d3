"""Who was faster on one pass, the peers counted, and how surely."""

from __future__ import annotations

from fastconv.conv.measuring import Measured
from fastconv.conv.outcome import Pass, family


def is_peer(row: Measured) -> bool:
    """Whether a row that was measured is another library's."""
    return row.executed is None


def podium(one: Pass) -> list[Measured]:
    """The best of each family of algorithms that count, and the peers, the fastest first."""
    allowed = [row for row in one.ranked if is_peer(row) or row in one.contest]
    winner = [one.winner] if one.winner else []
    best: dict[str, Measured] = {}
    for row in (*winner, *allowed):
        best.setdefault(family(row.algorithm), row)
    return sorted(best.values(), key=lambda row: row.seconds)


def uncertain(one: Pass) -> bool:
    """Whether another run may have another winner."""
    best = podium(one)
    if len(best) > 1 and best[1].seconds - best[0].seconds < (best[0].spread + best[1].spread) / 2:
        return True
    return bool(best) and best[0] == one.winner and one.doubt is not None


def chosen(one: Pass) -> Measured | None:
    """What the selector took; None if that was not measured."""
    return next((row for row in one.ranked if row.algorithm == one.chosen), None)


def fastest_peer(one: Pass) -> Measured | None:
    return next((row for row in one.ranked if is_peer(row)), None)


def ratio(one: Pass) -> float | None:
    """The fastest peer's time over that of the selector's choice: above 1 fastconv is faster."""
    choice, peer = chosen(one), fastest_peer(one)
    return peer.seconds / choice.seconds if choice and peer else None
