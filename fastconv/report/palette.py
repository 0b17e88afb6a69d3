"""The colours, each by a name and in two themes: plots are drawn in the light one.

An algorithm has the same colour everywhere.  The hues are those of Okabe and Ito (2008), which
people with any of the usual colour blindnesses can tell apart, made darker on light and lighter on
dark ground so that words in them can be read.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Colour(NamedTuple):
    light: str
    dark: str


GROUND = {
    "paper": Colour("#f7f6f2", "#121518"),
    "card": Colour("#fffffe", "#1a1e23"),
    "ink": Colour("#1b2631", "#e9edf1"),
    "soft": Colour("#5b6875", "#9ba7b3"),
    "line": Colour("#dfe1dd", "#333a42"),
    "accent": Colour("#0a6c9f", "#6cbcf0"),
}
ALGORITHMS = {
    "direct": Colour("#0072b2", "#4fa8e8"),
    "im2col": Colour("#3f97c4", "#9fdcff"),
    "depthwise": Colour("#a08900", "#e6d24a"),
    "winograd": Colour("#c84e00", "#ff8345"),
    "winograd2": Colour("#c97f36", "#ffcfa3"),
    "winograd4": Colour("#b8691f", "#f2ab6d"),
    "winograd6": Colour("#8c3600", "#e0651f"),
    "fft": Colour("#008060", "#35c79a"),
    "strassen": Colour("#b0558c", "#ec9fcb"),
    "bf16x3": Colour("#7a3db8", "#c79bff"),
    "reference": Colour("#7d8791", "#87929e"),
    "torch": Colour("#1c2732", "#f4f6f8"),
    "other": Colour("#6a5acd", "#b3a8ff"),  # peers and algorithms that this table does not know
}
COLOURS = GROUND | ALGORITHMS
_NAMES = {colour.light: name for name, colour in COLOURS.items()}


def token(algorithm: str) -> str:
    """The name of an algorithm's or a peer's colour."""
    return algorithm if algorithm in ALGORITHMS else "other"


def light(name: str) -> str:
    return COLOURS[name].light


def css() -> str:
    """The colours as custom properties that follow the theme."""
    return "\n".join(
        f"  --{name}: light-dark({colour.light}, {colour.dark});"
        for name, colour in COLOURS.items()
    )


def _variable(colour: re.Match) -> str:
    name = _NAMES.get(colour[0])  # of none: the text has it
    return f"var(--{name})" if name else colour[0]


def themed(svg: str) -> str:
    """A drawing in the light colours, in those of the page's theme."""
    return re.sub(r"#[0-9a-f]{6}\b", _variable, svg)
