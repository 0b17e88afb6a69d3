"""How the commands print: one rich console, and quantities with the unit a person would choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn

from fastconv.core.text import amount, duration

__all__ = ["amount", "bar", "console", "duration", "progress"]


def console(plain_width: int | None = None) -> Console:
    """A console on the present stdout; plain text of some width where that is not a terminal."""
    screen = Console(highlight=False, soft_wrap=False)
    if plain_width is not None and not screen.is_terminal:
        screen.width = plain_width
    screen.width = screen.width or 80  # COLUMNS=0 says that nobody knows
    return screen


def bar(share: float, width: int) -> str:
    """``share`` (0 … 1) of a bar of ``width`` characters, to an eighth of one."""
    whole, eighths = divmod(round(share * width * 8), 8)
    return ("█" * whole + " ▏▎▍▌▋▊▉"[eighths]).ljust(width)[:width]


@contextmanager
def progress(screen: Console, total: int) -> Iterator[Callable[[str], None]]:
    """A bar below what is printed in a ``with`` block; call what it gives with each thing begun.

    Nothing is shown where there is no terminal.
    """
    columns = (SpinnerColumn(), *Progress.get_default_columns(), MofNCompleteColumn())
    hidden = not screen.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=screen, transient=True, disable=hidden
    ) as bars:
        task = bars.add_task("", total=total)
        begun = 0

        def begin(what: str) -> None:
            nonlocal begun
            bars.update(task, description=what, completed=begun)
            begun += 1

        yield begin
