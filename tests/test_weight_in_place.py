"""Weight gradients that read x, or dy, where they are (channels-last) instead of packing them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import cases
import numpy as np
import pytest
from harness import DTYPES, FORMATS, Trial, assert_close, fenced

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.core.machine import machine
from fastconv.plans.blocked import next_pixels, weight, weight_operands
from fastconv.plans.blocked.direct_weight import DirectWeight, direct_weight
from fastconv.plans.blocked.weight_operands import Block, Left, Right
from fastconv.simd.vector import lanes

wide = pytest.mark.skipif(lanes(4) < 16, reason="about the tiles of vectors of 16")


def _plan(channels, filters, groups=1, taps=1, stride=1):
    x, w = (2, channels, 14, 14), (filters, channels // groups, taps, taps)
    arguments = (x, w, stride, taps // 2, 1, groups, "backward_weight", "float32", "nhwc")
    return direct_weight(described(*arguments), 2)


@wide
@pytest.mark.parametrize(
    ("shape", "in_place"),
    [
        ((64, 96), (True, True)),  # near pixels
        ((64, 144), (True, True)),  # far ones, read by 8 tiles
        ((192, 64), (True, True)),  # in two blocks of channels, read by 2 tiles
        ((120, 768), (True, False)),  # dy is read by 15 tiles
        ((40, 40), (True, False)),  # half a vector is left of x, in the place of dy
        ((24, 58), (True, True)),  # and the last tile overlaps the one before
        ((384, 96, 8), (True, True)),  # groups, x and dy in each other's place
        ((512, 512, 32, 3), (False, False)),  # far pixels, nine taps
        ((512, 512, 32, 1, 2), (True, True)),
    ],
)
def test_what_is_read_in_place(shape, in_place):
    assert _plan(*shape).in_place == in_place


@pytest.mark.skipif(lanes(4) != 8, reason="about the tiles of vectors of 8")
@pytest.mark.parametrize(
    ("filters", "in_place"),
    [(32, True), (48, True), (64, False), (96, True), (128, False), (144, True)],
)
def test_short_vectors_read_in_place_what_the_first_cache_holds(filters, in_place, monkeypatch):
    """196 pixels: of 64 filters there is room for 128, an even number of cache lines apart."""
    monkeypatch.setattr(weight, "machine", lambda: replace(machine(), l1=32 << 10))
    assert _plan(60, filters, taps=3).in_place[1] is in_place


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_fit_the_second_cache(stride, monkeypatch):
    for l2 in (256 << 10, 512 << 10, 2 << 20):
        monkeypatch.setattr(weight, "machine", lambda l2=l2: replace(machine(), l2=l2))
        plan = _plan(128, 128, taps=3, stride=stride)
        assert plan.block % lanes(4) == 0
        assert weight.PIXELS_AT_ONCE * stride**2 * plan.block * 4 <= max(l2 // 2, 64 << 10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [3, 5, 6, 20])
@pytest.mark.parametrize("taps", [(1, 2), (2, 2), (3, 3)], ids=str)
def test_blocks_of_channels_however_small_the_cache(channels, taps, dtype, monkeypatch):
    """Tiles that join the taps of all channels need all of them in a block."""
    monkeypatch.setattr(weight, "machine", lambda: replace(machine(), l2=1 << 10))
    case = cases.Case(f"blocks-{taps}", 2, channels, 23, 24, 19, *taps, stride=10)
    trial = Trial(case, "backward_weight", dtype, "nhwc")
    dw = np.full(trial.expected.shape, np.nan, dtype)
    DirectWeight(trial.problem, 2).run(*trial.operands(), dw)
    assert_close(dw, trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_nothing_is_read_beyond_what_there_is(groups):
    """In place a tile that is not whole would read into the next pixel, or beyond the array."""
    sizes = (*range(1, 70), *range(70, 700, 23), 96, 120, 128, 160, 192, 240, 256, 384, 480)
    found = 0
    for channels, filters in itertools.product(sizes[::3], sizes):
        plan = _plan(channels * groups, filters * groups, groups)
        for in_place, tiles, size in (
            (plan.in_place[0], plan.n_blocks * plan.tiles_m * plan.mr, plan.c.channels),
            (plan.in_place[1], plan.last + plan.width, plan.c.filters),
        ):
            assert not in_place or tiles == size
            found += in_place
    assert found > 20


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "filters", "groups"),
    [
        (160, 64, 1), (192, 32, 1), (64, 144, 1), (240, 16, 1), (96, 384, 8), (128, 128, 4),
        (24, 58, 1), (40, 120, 1), (7, 17, 1), (24, 81, 1),  # no whole tiles
    ],
)  # fmt: skip
def test_gradients(channels, filters, groups, dtype, stride):
    name = f"in-place-{channels}-{filters}-{groups}-{stride}"
    case = cases.Case(name, 3, channels, 9, 11, filters, 1, 1, stride=stride, groups=groups)
    trial = Trial(case, "backward_weight", dtype, "nhwc")
    assert_close(trial.run("direct", *trial.operands()), trial.expected, trial.bound("direct"))


@wide
def test_some_of_these_gradients_have_several_blocks_in_place():
    plan = _plan(160, 64)
    assert type(plan) is DirectWeight and plan.n_blocks == 2 and plan.in_place[0]


@pytest.fixture
def joined(monkeypatch):
    """``joined_lines`` as Python runs it, of pixels 4 bytes apart."""
    monkeypatch.setattr(weight_operands, "in_a_row", next_pixels.in_a_row.py_func)

    def join(single, block, left, right):
        left, right = Left(0, *left, 4, 0, 0), Right(0, 0, *right, 4)
        arguments = SimpleNamespace(single=single), block, left, right
        return weight_operands.joined_lines.py_func(*arguments)

    return join


def test_lines_that_join_are_one_run(joined):
    """On both sides (image, row), in bytes; of a product that has all pixels."""
    block, line = Block(4, 0, 0, 3, 5, 7), Block(4, 0, 0, 1, 1, 105)
    there = (140, 28)
    assert joined(1, block, there, there) == line
    assert joined(0, block, there, there) == block
    for apart in ((140, 32), (160, 28)):
        assert joined(1, block, apart, there) == joined(1, block, there, apart) == block
    one_image = block._replace(images=1)
    assert joined(1, one_image, (0, 28), (999, 28)) == line._replace(columns=35)
    one_row = block._replace(rows=1)
    assert joined(1, one_row, (28, 0), (28, 999)) == line._replace(columns=21)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(("channels", "filters"), [(72, 160), (160, 72), (264, 24)])
@pytest.mark.parametrize("formats", [*itertools.product(FORMATS, repeat=2)], ids="-".join)
def test_gradients_of_small_images(channels, filters, groups, stride, threads, dtype, formats):
    """Blocks of several images, the last one of fewer."""
    name = f"small-{channels}-{filters}-{groups}-{stride}"
    case = cases.Case(name, 17, channels, 7, 7, filters, 1, 1, stride=stride, groups=groups)
    trial = Trial(case, "backward_weight", dtype, formats[0])
    x, dy = trial.operands()
    dy = fenced(dy, dtype, formats[1])
    with fc.options(num_threads=threads):
        dw = trial.run("direct", x, dy)
    assert_close(dw, trial.expected, trial.bound("direct"))
