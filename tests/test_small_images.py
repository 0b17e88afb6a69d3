"""Images of a few pixels: outputs folded into the lanes, of which all, some or none are there."""

from __future__ import annotations

import itertools

import pytest
from cases import Case
from harness import DIRECTIONS, FORMATS, Trial, assert_close

SIZES = [*itertools.product((1, 2, 3, 4), (1, 2, 3, 4, 5)), (7, 2), (3, 9)]
LAYERS = (
    # channels, filters, window, stride, padding, groups
    (3, 3, (3, 3), (2, 2), 1, 1),
    (4, 3, (1, 3), (1, 1), (0, 1), 1),
    (8, 3, (3, 3), (1, 1), 1, 1),
    (1, 1, (3, 3), (1, 1), 1, 1),
    (4, 2, (3, 3), (1, 2), 1, 1),
    (6, 6, (3, 3), (2, 1), 1, 2),
    (2, 5, (2, 2), (2, 2), 1, 1),
)


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col", "winograd"])
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_every_size(layer, direction, order, algorithm):
    channels, filters, window, stride, padding, groups = layer
    pad = (padding, padding) if isinstance(padding, int) else padding
    for height, width in SIZES:
        if height + 2 * pad[0] < window[0] or width + 2 * pad[1] < window[1]:
            continue
        case = Case(
            f"{height}x{width}", 2, channels, height, width, filters, *window, stride, padding,
            groups=groups,
        )  # fmt: skip
        trial = Trial(case, direction, order=order)
        if algorithm != "auto" and trial.refusal(algorithm):
            continue
        result = trial.run(algorithm, *trial.operands())
        assert_close(
            result, trial.expected, 5e-5 if algorithm == "auto" else trial.bound(algorithm)
        )
