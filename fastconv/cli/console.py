"""How the commands print: one rich console, and quantities with the unit a person would choose."""

from __future__ import annotations

from rich.console import Console

from fastconv.core.text import amount, duration

__all__ = ["amount", "bar", "console", "duration"]


def console() -> Console:
    """A console on the present stdout; plain text where that is not a terminal."""
    return Console(highlight=False, soft_wrap=False)


def bar(share: float, width: int) -> str:
    """``share`` (0 … 1) of a bar of ``width`` characters, to an eighth of one."""
    whole, eighths = divmod(round(share * width * 8), 8)
    return ("█" * whole + " ▏▎▍▌▋▊▉"[eighths]).ljust(width)[:width]
