"""Quantities as text, in the unit that a person would choose."""

from __future__ import annotations


def amount(nbytes: float) -> str:
    """Bytes as B, KiB, MiB or GiB."""
    return _scaled(nbytes, 1024, ("B", "KiB", "MiB", "GiB"))


def duration(seconds: float) -> str:
    """Seconds as µs, ms or s."""
    return _scaled(seconds * 1e6, 1000, ("µs", "ms", "s"))


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    """Three significant digits, in the largest unit that leaves at least 1."""
    unit = 0
    while value >= step and unit < len(units) - 1:
        value /= step
        unit += 1
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {units[unit]}"
