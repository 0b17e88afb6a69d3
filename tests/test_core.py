"""Small things that everything stands on: addresses of arrays, text tables."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.core import text
from fastconv.core.address import address

BASE = np.arange(60.0).reshape(3, 4, 5)
READ_ONLY = BASE.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "array",
    [
        BASE, BASE[1:, ::2], BASE[::-1, :, ::-1], BASE.T, BASE[:0], READ_ONLY, BASE[1, 2, 3, ...],
        np.float32(1) * np.ones(3, np.float32), np.ones((2, 2)).view(np.matrix),
    ],
    ids=range(9),
)  # fmt: skip
def test_address(array):
    assert address(array) == array.__array_interface__["data"][0]


def test_table():
    rows = [("a", "1", "22"), ("longest", "remark that runs on and on"), ("bb", "333", "4")]
    assert text.table(("name", "x", "y"), rows) == [
        "name       x   y",
        "────────────────",
        "a          1  22",
        "longest  remark that runs on and on",
        "bb       333   4",
    ]


def test_table_without_rows():
    assert text.table(("a", "b"), []) == ["a  b", "────"]
