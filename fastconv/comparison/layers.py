"""Layers by name: the tables that come with the package, and files of the same form."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from fastconv.conv.arguments import described
from fastconv.core.problem import DIRECTIONS, ConvProblem

TABLES = ("layers", "crossings")  # of networks in use; of filter sizes and channels, "r3-c64"
_SIZES = ("N", "C", "H", "W", "K", "R", "S", "stride", "pad_h", "pad_w", "dilation", "groups")
_COLUMNS = ("name", *_SIZES)
_MAY_BE_ZERO = ("pad_h", "pad_w")


class Layer(NamedTuple):
    """A convolution with a name, and the passes that are of interest."""

    name: str
    problem: ConvProblem  # forward, float32, NCHW
    directions: tuple[str, ...] = DIRECTIONS


def shipped(table: str = "layers") -> list[Layer]:
    """A table that comes with the package, one of :data:`TABLES`."""
    file = resources.files("fastconv.comparison").joinpath(f"{table}.csv")
    return parse(file.read_text().splitlines(), f"{table}.csv")


def read(path: Path) -> list[Layer]:
    """The layers of a file in the form of those tables; ``ValueError`` names the line at fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text in UTF-8") from None
    return parse(text.splitlines(), str(path))


def parse(lines: Iterable[str], source: str) -> list[Layer]:
    """The layers of a table: a line of column names, then a line for each layer."""
    reader = csv.reader(lines)
    found: dict[str, Layer] = {}
    try:
        if tuple(next(reader, ())) != _COLUMNS:
            raise ValueError(f"the first line must be {','.join(_COLUMNS)}")
        for fields in filter(None, reader):
            layer = _layer(fields)
            if layer.name in found:
                raise ValueError(f"there is a layer {layer.name!r} already")
            found[layer.name] = layer
        if not found:
            raise ValueError("there must be a layer after the column names")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{source}, line {max(reader.line_num, 1)}: {error}") from None
    return list(found.values())


def _layer(fields: list[str]) -> Layer:
    if len(fields) != len(_COLUMNS):
        raise ValueError(
            f"expected {len(_COLUMNS)} values ({','.join(_COLUMNS)}), got {len(fields)}"
        )
    name = fields[0].strip()
    if not name:
        raise ValueError("the name must not be empty")
    n, c, h, w, k, r, s, stride, pad_h, pad_w, dilation, groups = map(_size, _SIZES, fields[1:])
    if c % groups:
        raise ValueError(f"groups must divide C, got groups {groups} and C {c}")
    problem = described(
        (n, c, h, w), (k, c // groups, r, s), stride, (pad_h, pad_w), dilation, groups,
        "forward", "float32", "nchw",
    )  # fmt: skip
    return Layer(name, problem)


def _size(name: str, text: str) -> int:
    least = 0 if name in _MAY_BE_ZERO else 1
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < least:
        raise ValueError(f"{name} must be an integer ≥ {least}, got {text!r}")
    return value
