"""The tables of blocks of pixels: each tile takes the taps that its pixels need, and no others."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from fastconv.conv.arguments import described
from fastconv.plans.correlation import unfolded
from fastconv.plans.pixels import PixelTables, inside, kinds, reach

SHAPES = [
    # (H, W), (R, S), padding, stride, dilation, share of a block
    ((9, 11), (3, 3), 1, 1, 1, (1, 2, 3)),
    ((20, 23), (5, 4), 3, 1, 1, (2, 4, 5)),
    ((17, 40), (3, 7), 9, 2, 1, (1, 1, 4)),  # blocks of nothing but padding
    ((6, 200), (1, 3), 1, 1, 2, (3, 6, 7)),
    ((9, 12), (5, 6), 4, 3, 1, (2, 2, 2)),  # no block alike another
    ((1, 3000), (1, 3), 1, 1, 1, (1, 1, 224)),
]


def correlation(size, kernel, padding, stride, dilation):
    x, w = (5, 2, *size), (3, 2, *kernel)
    return unfolded(described(x, w, stride, padding, dilation, 1, "forward", "float32", "nchw"))


@pytest.mark.parametrize("mr", [1, 6, 14])
@pytest.mark.parametrize(("size", "kernel", "padding", "stride", "dilation", "share"), SHAPES)
def test_windows_of_every_tile(size, kernel, padding, stride, dilation, share, mr):
    c = correlation(size, kernel, padding, stride, dilation)
    tables = PixelTables(c, share, mr)
    rows, columns = reach(c.rows), reach(c.columns)
    words, taps = tables.words, 0
    flat = tables.windows.reshape(-1)
    for n, i, j in np.ndindex(tables.blocks):
        last = [at == of - 1 for at, of in zip((n, i, j), tables.blocks, strict=True)]
        order = tables.variants[4 * last[0] + 2 * last[1] + last[2]]
        # Where the kernel looks: bytes of a kind of rows, and of one of columns.
        at = (words["row_kinds"][i] + words["column_kinds"][j]) // 8
        at += last[0] * (tables.most // mr) * 4
        for tile in range(-(-len(order) // mr)):
            pixels = order[tile * mr : (tile + 1) * mr]
            down, across = rows[i * share[1] + pixels[:, 1]], columns[j * share[2] + pixels[:, 2]]
            window = down[:, 0].min(), down[:, 1].max(), across[:, 0].min(), across[:, 1].max()
            assert tuple(flat[at + 4 * tile : at + 4 * tile + 4]) == window
            taps += mr * (window[1] - window[0]) * (window[3] - window[2])
    assert tables.taps == taps


def test_long_rows_have_few_kinds_of_blocks():
    c = correlation((1, 100_000), (1, 9), 4, 1, 1)
    found = kinds(reach(c.columns), 100)
    assert len(found.of) == 1000 and len(found.first) == 3
    assert sorted(found.count.tolist()) == [1, 1, 998]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_share_of_taps_inside(shape):
    c = correlation(*shape[:-1])
    pairs = product(reach(c.rows).tolist(), reach(c.columns).tolist())
    taps = sum((bottom - top) * (right - left) for (top, bottom), (left, right) in pairs)
    total = c.rows.outputs * c.columns.outputs * c.rows.window * c.columns.window
    assert inside(c) == pytest.approx(taps / total)
