"""The oracle itself: the definition written as loops, and the adjoints it must satisfy."""

from __future__ import annotations

import itertools

import cases
import numpy as np
import oracle
import pytest

SHAPES = (
    cases.Case("loops", 2, 4, 5, 6, 6, 3, 2, (2, 1), (1, 2), (1, 2), 2),
    cases.Case("loops-padding", 1, 2, 2, 3, 3, 3, 3, 3, 4),
    cases.Case("loops-same", 1, 2, 4, 3, 2, 2, 4, 1, "same"),
    cases.Case("loops-dilation", 1, 3, 9, 8, 3, 2, 3, (4, 2), 1, (2, 3), 3),
)


def _by_definition(x, w, case):
    y = np.zeros(case.y_shape)
    top, _, left, _ = oracle.paddings(case.padding, (case.R, case.S), case.dilation)
    (sh, sw), (dh, dw) = oracle.pair(case.stride), oracle.pair(case.dilation)
    _, cg, _, _ = w.shape
    for n, k, p, q in np.ndindex(y.shape):
        first = k // (case.K // case.groups) * cg
        for c, r, s in itertools.product(range(cg), range(case.R), range(case.S)):
            h, i = p * sh + r * dh - top, q * sw + s * dw - left
            if 0 <= h < case.H and 0 <= i < case.W:
                y[n, k, p, q] += x[n, first + c, h, i] * w[k, c, r, s]
    return y


def _random(shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.mark.parametrize("case", SHAPES, ids=lambda case: case.name)
def test_forward_is_the_definition(case):
    x, w = _random(case.x_shape), _random(case.w_shape)
    y = oracle.forward(x, w, None, *case.arguments)
    np.testing.assert_allclose(y, _by_definition(x, w, case), rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", cases.SMALL, ids=lambda case: case.name)
def test_gradients_are_adjoint_to_the_forward(case):
    """⟨y, dy⟩ = ⟨x, dx⟩ = ⟨w, dw⟩ for every dy, because the forward is bilinear."""
    x, w, dy = _random(case.x_shape), _random(case.w_shape), _random(case.y_shape)
    y = oracle.forward(x, w, None, *case.arguments)
    dx = oracle.backward_input(case.x_shape, w, dy, *case.arguments)
    dw = oracle.backward_weight(x, case.w_shape, dy, *case.arguments)
    expected = np.vdot(y, dy)
    scale = np.linalg.norm(y) * np.linalg.norm(dy)
    assert abs(np.vdot(x, dx) - expected) < 1e-12 * scale
    assert abs(np.vdot(w, dw) - expected) < 1e-12 * scale
