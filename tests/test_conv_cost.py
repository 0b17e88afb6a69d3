"""What algorithms say of themselves: a reason or a cost, and memory within the limits."""

from __future__ import annotations

import tracemalloc

import cases
import numpy as np
import pytest
from cases import Case
from harness import DIRECTIONS, DISTINCT, Trial

import fastconv as fc
from fastconv.conv._product import moved_singly, parts_of
from fastconv.conv.algorithm import too_large
from fastconv.conv.registry import ALGORITHMS
from fastconv.core import workspace
from fastconv.simd.vector import lanes

algorithms = pytest.mark.parametrize("algorithm", DISTINCT)
directions = pytest.mark.parametrize("direction", DIRECTIONS)

WORKSPACE = 32 << 20  # bytes a thread may take, whatever the shape

# Only planned, never run: batches, images, channels and kernels that are large.
LARGE = (
    Case("large-vgg-1", 2, 64, 224, 224, 64, 3, 3, padding=1),
    Case("large-vgg-5", 8, 512, 14, 14, 512, 3, 3, padding=1),
    Case("large-batch", 1024, 64, 56, 56, 64, 3, 3, padding=1),
    Case("large-image", 1, 16, 2160, 3840, 16, 3, 3, padding=1),
    Case("large-row", 1, 32, 1, 1_000_000, 32, 1, 3),
    Case("large-1x1", 8, 2048, 7, 7, 512, 1, 1),
    Case("large-stem", 8, 3, 227, 227, 96, 11, 11, stride=4),
    Case("large-kernel", 2, 128, 56, 56, 128, 31, 31, padding=15, groups=128),
    Case("large-15x15", 2, 32, 128, 128, 32, 15, 15, padding=7),
    Case("large-depthwise", 8, 1024, 56, 56, 1024, 7, 7, padding=3, groups=1024),
)

LARGE_BATCH = Case("batch-in-parts", 600, 16, 40, 40, 8, 3, 3, stride=2, groups=2)

# Input gradients of few channels, whose neighbouring pixels are folded into the lanes.
FOLDED = (
    Case("folded-4x4", 2, 3, 32, 32, 32, 4, 4, stride=4),
    Case("folded-5x5", 2, 2, 20, 20, 8, 5, 5, stride=3, padding=2),
    Case("folded-7x7", 2, 3, 40, 40, 16, 7, 7, stride=2, padding=3),
)


def _accepted(algorithm, trial):
    reason = trial.refusal(algorithm)
    if reason is not None:
        pytest.skip(reason)
    return trial


@directions
@algorithms
@pytest.mark.parametrize("case", cases.MEDIUM, ids=lambda case: case.name)
def test_cost_is_plausible(case, algorithm, direction):
    trial = _accepted(algorithm, Trial(case, direction))
    cost = trial.cost(algorithm)
    assert cost.nbytes >= 0.5 * trial.problem.nbytes
    assert cost.flops >= 0.1 * trial.problem.flops
    assert 0 < cost.error < 1e-4


@directions
@pytest.mark.parametrize("algorithm", [a for a in DISTINCT if a != "reference"])
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name)
def test_workspace_is_limited(case, algorithm, direction):
    trial = _accepted(algorithm, Trial(case, direction, "float32", "nhwc"))
    assert trial.cost(algorithm).workspace <= WORKSPACE * fc.get_num_threads()


@directions
@pytest.mark.parametrize("case", [*cases.MEDIUM, LARGE_BATCH], ids=lambda case: case.name)
def test_reference_takes_what_its_cost_says(case, direction):
    """A batch in parts, so that it does not exceed the limit either."""
    trial = Trial(case, direction)
    first, second = trial.operands()
    trial.run("reference", first, second)
    tracemalloc.start()
    try:
        trial.run("reference", first, second)
        _, used = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    result = trial.problem.nbytes - first.nbytes - second.nbytes
    stated = trial.cost("reference").workspace
    assert 0.3 * stated < used - result <= stated <= WORKSPACE


def test_scratch_beyond_the_limit_is_refused():
    assert too_large(WORKSPACE) is None
    assert too_large(WORKSPACE + (1 << 20)) == "it needs 33 MiB of scratch, more than 32 MiB"


@directions
@pytest.mark.parametrize("algorithm", [a for a in DISTINCT if a != "reference"])
@pytest.mark.parametrize("case", [*cases.MEDIUM, *FOLDED], ids=lambda case: case.name)
def test_scratch_is_what_the_cost_says(case, algorithm, direction):
    """Also where a NaN makes an algorithm compute the result in another way."""
    trial = _accepted(algorithm, Trial(case, direction))
    first, second = trial.operands()
    for value in (first[0, 0, 0, 0], np.nan):
        first[0, 0, 0, 0] = value
        trial.run(algorithm, first, second)
        used = sum(block.nbytes - workspace.ALIGN for block in workspace._shelf.blocks)
        assert used <= trial.cost(algorithm).workspace


@directions
@pytest.mark.parametrize(("size", "dilation"), [(33, 6), (33, 12), (33, 18)])
def test_direct_does_not_count_taps_in_the_padding(size, dilation, direction):
    """Whole register tiles leave them out, so what is counted is a little more than is inside."""
    case = Case("dilated", 2, 64, size, size, 64, 3, 3, 1, dilation, dilation)
    trial = Trial(case, direction, "float32", "nhwc")
    inside = ((size + 2 * (size - dilation)) / (3 * size)) ** 2
    flops = trial.cost("direct").flops / trial.problem.flops
    assert inside <= flops <= 1.25 * inside
    assert trial.cost("im2col").flops >= trial.problem.flops


def _stages(algorithm, case, direction="forward", order="nhwc"):
    return ALGORITHMS[algorithm].cost(Trial(case, direction, order=order).problem, 1).stages


def test_tiles_are_multiplied_after_memory_was_waited_for():
    """Components are made and used in turns; along lines, both pass at once."""
    many = Case("many", 2, 64, 32, 32, 64, 3, 3, padding=1)
    one = Case("one", 2, 1, 64, 64, 32, 3, 3, padding=1)
    for case, streams in ((many, False), (one, True)):
        trial = Trial(case, "forward", order="nhwc")
        stages = _stages("winograd", case)
        (product,) = (stage for stage in stages if stage.kind == "product")
        copied = sum(stage.nbytes for stage in stages if stage.kind == "copy")
        assert product.nbytes == (trial.problem.nbytes if streams else 0)
        assert streams or copied >= trial.problem.nbytes


@pytest.mark.skipif(lanes(4) < 16, reason="about vectors of 16")
def test_elements_of_groups_are_moved_singly_but_not_along_planes():
    groups = Case("groups", 2, 30, 8, 64, 30, 3, 3, padding=1, groups=3)

    def moved(direction, order):
        problem = Trial(groups, direction, order=order).problem
        ((_, (part,)),) = parts_of(ALGORITHMS["direct"], problem, 1)
        return moved_singly(part)

    pixels = groups.N * groups.groups * groups.H * groups.W * lanes(4) * 4
    assert moved("forward", "nhwc") == pixels
    assert moved("backward_weight", "nhwc") == 2 * pixels  # of x and of dy
    assert moved("forward", "nchw") == moved("backward_weight", "nchw") == 0


def test_lattices_of_planes_take_their_time():
    """Their columns stand apart in memory; those of channels-last pixels are as wide as before."""
    near = Case("near", 2, 32, 1, 400, 32, 1, 3)
    far = near._replace(dilation=(1, 4))

    def gathered(case, order):
        stages = _stages("winograd", case, order=order)
        return sum(stage.nbytes for stage in stages if stage.kind == "gather")

    assert gathered(near, "nhwc") == gathered(far, "nhwc") == gathered(near, "nchw") == 0
    elements = far.N * (far.C * 400 + far.K * 392)
    assert gathered(far, "nchw") == elements * lanes(4) * 4
