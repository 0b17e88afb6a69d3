"""A layer as one writes it on a command line: ``NxCxHxW:KxCxRxS[:s2p1d1g1]``."""

from __future__ import annotations

import re
from typing import NamedTuple

from fastconv.conv.arguments import described
from fastconv.core.problem import ConvProblem

from .errors import Usage

SYNTAX = "NxCxHxW:KxCxRxS[:s2p1d1g1]"
_OPTIONS = {"s": "stride", "p": "padding", "d": "dilation", "g": "groups"}
_OPTION = re.compile(r"([a-z])(\d+x\d+|\d+|same|valid)")


class Layer(NamedTuple):
    """A convolution, and how it was written."""

    text: str
    problem: ConvProblem  # forward, float32, NCHW


def parse(text: str) -> Layer:
    """The layer that ``text`` writes, e.g. ``8x64x56x56:128x64x3x3:s2p1``.

    Sizes of the input (N, C, H, W) and of the weight (K, C/groups, R, S); then stride, padding,
    dilation and groups by their first letters, each an integer, or two as in ``s2x1`` (not groups),
    or ``psame`` or ``pvalid``.  Raises :class:`Usage` with the part that is wrong.
    """
    parts = text.split(":")
    if not 2 <= len(parts) <= 3:
        raise Usage(f"layer {text!r}: expected {SYNTAX}")
    input = _sizes(text, "input", parts[0], "NxCxHxW")
    weight = _sizes(text, "weight", parts[1], "KxCxRxS")
    settings = _settings(text, parts[2]) if len(parts) == 3 else {}
    return Layer(text, _problem(text, input, weight, settings))


def _sizes(text: str, name: str, part: str, pattern: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", part):
        raise Usage(f"layer {text!r}: {name} {part!r} is not four positive sizes {pattern}")
    return tuple(map(int, part.split("x")))


def _settings(text: str, part: str) -> dict[str, int | str | tuple[int, ...]]:
    settings = {}
    rest = part
    while rest:
        match = _OPTION.match(rest)
        if match is None or match[1] not in _OPTIONS:
            raise Usage(
                f"layer {text!r}: cannot read {rest!r}, expected s, p, d or g and a number "
                "(s2, p1x0, psame)"
            )
        name, value = _OPTIONS[match[1]], match[2]
        if name in settings:
            raise Usage(f"layer {text!r}: {name} is given twice in {part!r}")
        numbers = tuple(map(int, value.split("x"))) if value[0].isdigit() else None
        settings[name] = value if numbers is None else numbers[0] if len(numbers) == 1 else numbers
        rest = rest[match.end() :]
    return settings


def _problem(text: str, input, weight, settings) -> ConvProblem:
    """What the library's own check makes of it."""
    usual = dict(stride=1, padding=0, dilation=1, groups=1)
    try:
        return described(
            input, weight, **(usual | settings), direction="forward", dtype="float32",
            memory_format="nchw",
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise Usage(f"layer {text!r}: {error}") from None
