"""What training shows: a bar while an epoch runs on a terminal, a line when it is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich import progress
from rich.console import Console

from .history import Record, describe

_COLUMNS = (
    progress.TextColumn("{task.description}"),
    progress.BarColumn(),
    progress.MofNCompleteColumn(),
    progress.TimeElapsedColumn(),
    progress.TextColumn("{task.fields[means]}"),
)


class Progress:
    """Reports of ``epochs`` epochs; where output is no terminal, one line for each and no bar."""

    def __init__(self, epochs: int, console: Console):
        self.epochs = epochs
        self.console = console

    def _title(self, epoch: int) -> str:
        return f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}"

    @contextlib.contextmanager
    def bar(self, epoch: int, batches: int | None) -> Iterator[Callable[[Record], None]]:
        """A bar of ``batches`` steps (None: unknown); call what it gives after each of them."""
        if not self.console.is_terminal or self.console.quiet:
            yield lambda means: None
            return
        with progress.Progress(*_COLUMNS, console=self.console, transient=True) as live:
            task = live.add_task(self._title(epoch), total=batches, means="")
            yield lambda means: live.update(task, advance=1, means=describe(means))

    def line(self, epoch: int, record: Record) -> None:
        """One line on a finished epoch."""
        text = f"{self._title(epoch)}  {describe(record)}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
