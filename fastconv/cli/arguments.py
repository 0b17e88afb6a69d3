"""The argument parser: errors in one line, and the argument types that several commands share."""

from __future__ import annotations

import argparse

from fastconv.core import checks

from .errors import Usage


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that raises :class:`Usage` where argparse prints a page and exits."""

    def __init__(self, **settings):
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str):
        raise Usage(f"{message} (see {self.prog} --help)")


def at_least(least: int):
    """An argument type: an integer that is ``least`` or more, as sizes are."""

    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"must be an integer ≥ {least}, got {text!r}")
        if value >= 2**31:
            raise argparse.ArgumentTypeError(f"must be below 2**31, got {text!r}")
        return value

    return integer


def positive(text: str) -> float:
    """An argument type: a finite number above 0."""
    try:
        return checks.positive(float(text), "it")
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}") from None
