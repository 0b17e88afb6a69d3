"""Where the time of a command goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .compiling import Watch

if TYPE_CHECKING:
    from rich.console import Console


class Stages:
    """The parts of a command: their seconds, and how many of those went into compiling."""

    def __init__(self, compiler: Watch):
        self._compiler = compiler
        self._rows: list[tuple[str, float, float]] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began, compiled = time.perf_counter(), self._compiler.total
        yield
        self._rows.append((name, time.perf_counter() - began, self._compiler.total - compiled))

    def show(self, screen: Console) -> None:
        for name, seconds, compiled in self._rows:
            share = f"   {compiled:.1f} s of it compiling" if compiled >= 0.05 else ""
            screen.print(f"  {name:<24}{seconds:5.1f} s{share}")
        screen.print(f"  {'in all':<24}{sum(row[1] for row in self._rows):5.1f} s")
