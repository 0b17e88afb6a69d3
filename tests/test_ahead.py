"""What register tiles prefetch while they multiply: the pixels of this task and of the next one."""

from __future__ import annotations

from types import SimpleNamespace

import cases
import numpy as np
import pytest
from harness import FORMATS, Trial, assert_close

from fastconv.conv._product import parts_of
from fastconv.conv.arguments import described
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.machine import machine
from fastconv.plans import ahead
from fastconv.plans.ahead import ahead_words, begin, turn
from fastconv.plans.bilinear import weight
from fastconv.plans.bilinear.correlation import BilinearCorrelation
from fastconv.plans.correlation import unfolded
from fastconv.transforms.tile_map import Tiling

LINE = 64


def _lines_of(at, nbytes):
    return range(at // LINE, (at + nbytes) // LINE)


def _fetched(segments, pitch, nbytes, parts, calls, bundles, lines):
    """The lines, by number, that equal parts of so many calls of so many bundles prefetch."""
    stream, found = SimpleNamespace(), set()
    begin.py_func(stream, 0, segments, pitch, nbytes, parts * calls, bundles, lines)
    for part in range(parts):
        turn.py_func(stream, part, parts, calls)
        for _ in range(calls):
            for bundle in range(bundles):
                first = stream.at + bundle * stream.tile
                found.update((first + i * stream.line) // LINE for i in range(lines))
            stream.at += stream.call
    return found


@pytest.mark.parametrize("bundles", [4, 19])
@pytest.mark.parametrize("calls", [1, 3])
@pytest.mark.parametrize(
    ("segments", "pitch", "nbytes"),
    [(1, 0, 200_000), (16, 4096, 3000), (64, 50_000, 6400), (40, 8192, 8192)],
)
def test_most_lines_are_fetched_and_few_others(segments, pitch, nbytes, calls, bundles):
    """With as many prefetches as a line each needs, and half as many again."""
    parts = 36
    tiles = parts * calls * bundles
    lines = max(1, 3 * segments * nbytes // (2 * LINE * tiles))
    starts = range(0, max(1, segments * pitch), max(1, pitch))
    wanted = {line for at in starts for line in _lines_of(at, nbytes)}
    found = _fetched(segments, pitch, nbytes, parts, calls, bundles, lines)
    fetchable = min(len(wanted), tiles * lines)
    assert len(found & wanted) >= 0.75 * fetchable
    beyond = -(-segments // bundles) * bundles / segments  # the last bundles may have no segment
    assert len(found - wanted) <= 0.2 * len(found) + (beyond - 1) * len(wanted)


@pytest.mark.parametrize("segments", [2, 64, 500])
def test_no_stretch_is_longer_than_its_segment(segments):
    """Where there are more segments than calls and bundles for them, some are left out."""
    stream = SimpleNamespace()
    begin.py_func(stream, 0, segments, 50_000, 6400, calls=36, bundles=1, lines=100)
    assert 0 < stream.call <= 6400 and stream.line <= LINE and stream.tile == 50_000


def test_nothing_is_fetched_of_no_segments():
    assert _fetched(0, 0, 0, 36, 1, 5, 2) == {0}


@pytest.mark.parametrize(
    ("strides", "groups", "pixels", "words"),
    [
        ((65536, 4, 2048, 64), 1, 300, (1, 0, 300 * 64)),  # channels-last
        ((65536, 4, 2048, 128), 2, 300, (0, 0, 0)),  # ... of two groups: every other half a pixel
        ((65536, 4096, 128, 4), 1, 300, (16, 4096, 1200)),  # a stretch of each plane
        ((65536, 4096, 128, 4), 2, 300, (16, 4096, 1200)),
        ((65536, 4096, 128, 4), 1, 2048, (1, 0, 2048 * 64)),  # whole images
    ],
)
def test_segments(strides, groups, pixels, words):
    assert tuple(ahead_words("x", strides, 16, groups, 1024, pixels).values()) == words


def _lines(shape, filters, threads=2, dilation=1):
    arguments = (shape, (filters, shape[1], 3, 3), 1, 1, dilation, 1, "forward", "float32", "nhwc")
    c, tiling = unfolded(described(*arguments)), Tiling(4, 3, 4, 3)
    return BilinearCorrelation(c, 4, "nhwc", tiling, threads)._fetched


def test_pixels_are_fetched_where_memory_takes_a_while():
    assert _lines((512, 16, 32, 32), 16)[1:] == (1, 1)
    assert _lines((4, 16, 32, 32), 16)[1:] == (0, 0)  # stay in the cache
    some = 8 * machine().l2 // (2 * 16 * 32 * 32 * 4)  # images whose pixels fill eight caches
    assert _lines((some, 16, 32, 32), 16, threads=2)[1:] == (1, 1)
    assert _lines((some, 16, 32, 32), 16, threads=16)[1:] == (0, 0)
    assert _lines((64, 512, 28, 28), 512)[1:] == (0, 0)  # multiplying takes far longer
    assert _lines((512, 3, 32, 32), 16)[1:] == (0, 0)  # sums are short of a vector
    assert _lines((512, 16, 32, 32), 16, dilation=2)[1:] == (0, 0)  # pixels stand apart


CASES = (
    cases.Case("plain", 3, 20, 19, 23, 40, 3, 3, padding=1),
    cases.Case("groups", 2, 40, 12, 15, 48, 3, 3, padding=1, groups=2),
    cases.Case("strided", 2, 17, 21, 23, 33, 5, 5, 2, 2),
    cases.Case("dilated", 2, 16, 17, 19, 16, 3, 3, padding=2, dilation=2),
    cases.Case("long-sums", 1, 300, 9, 11, 64, 3, 3, padding=1),
)


@pytest.mark.usefixtures("no_second_try", "planned_anew")
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results_do_not_depend_on_it(case, direction, order, monkeypatch):
    trial = Trial(case, direction, np.float32, order)
    algorithm = ALGORITHMS["winograd"]
    if algorithm.refuses(trial.problem):
        pytest.skip("winograd does not run it")
    lines = []
    monkeypatch.setattr(
        BilinearCorrelation, "_fetched", property(lambda part: lines.append(1) or (part.nv, 1, 1))
    )
    result = trial.run("winograd", *trial.operands())
    assert lines
    assert_close(result, trial.expected, trial.bound("winograd"))


@pytest.mark.parametrize("nbytes", [0, 1, 6400, 100_000])
@pytest.mark.parametrize("parts", [1, 16, 36])
def test_parts_fetch_every_line_once(nbytes, parts, monkeypatch):
    found = []

    def fetch(at, lines, step):
        found.extend(range(at, at + lines * step, step))

    monkeypatch.setattr(ahead, "fetch", fetch)
    for part in range(parts):
        ahead.fetch_part.py_func(640, nbytes, part, parts)
    lines = nbytes // LINE
    assert found[:lines] == [640 + LINE * i for i in range(lines)]
    assert len(found) < lines + parts and len(set(found)) == len(found)


def _weight_plan(N, channels, groups=1):
    shape, w = (N, channels, 32, 32), (channels, channels // groups, 3, 3)
    problem = described(shape, w, 1, 1, 1, groups, "backward_weight", "float32", "nhwc")
    ((_, (plan,)),) = parts_of(ALGORITHMS["winograd4"], problem, 2)
    return plan


def test_weight_gradients_fetch_the_next_stretch_of_pixels():
    pixels = (1 << 16, 4, 32 * 64, 64)
    planes = (1 << 16, 4096, 128, 4)
    far, near = _weight_plan(512, 16), _weight_plan(4, 16)
    stretch = 512 * 32 * 32 * 64 * far.share // far.grid.tiles
    assert far._ahead(pixels, pixels) == dict(x_ahead=stretch, dy_ahead=stretch)
    groups = _weight_plan(512, 32, groups=2)
    nothing = dict(x_ahead=0, dy_ahead=0)
    assert far._ahead(planes, planes) == far._ahead(pixels, planes) == nothing
    assert near._ahead(pixels, pixels) == groups._ahead(pixels, pixels) == nothing


@pytest.mark.usefixtures("planned_anew")
@pytest.mark.parametrize("case", CASES[:-1], ids=lambda case: case.name)  # the last has few tiles
def test_weight_gradients_do_not_depend_on_it(case, monkeypatch):
    trial = Trial(case, "backward_weight", np.float32, "nhwc")
    algorithm = ALGORITHMS["winograd"]
    if algorithm.refuses(trial.problem):
        pytest.skip("winograd does not run it")
    asked = []
    monkeypatch.setattr(weight, "memory_is_waited_for", lambda *moved: asked.append(1) or True)
    result = trial.run("winograd", *trial.operands())
    assert asked
    assert_close(result, trial.expected, trial.bound("winograd"))
