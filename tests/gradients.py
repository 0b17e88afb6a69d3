"""Gradients by central differences in float64, to hold those of the tape against."""

from __future__ import annotations

import numpy as np

import fastconv as fc

STEP = 1e-6


def numerical(function, arrays, first):
    """The gradients of Σ first · function(*arrays), one element moved at a time."""
    gradients = []
    for i, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy(order="K") for a in arrays]
                moved[i][at] += sign * STEP
                ends.append((first * np.asarray(function(*moved))).sum())
            gradient[at] = (ends[0] - ends[1]) / (2 * STEP)
        gradients.append(gradient)
    return gradients


def check_gradients(function, *arrays, tolerance=1e-7):
    """Every gradient of ``function``, called with tensors, against :func:`numerical`'s.

    The result's gradient is random, so that no error hides behind ones.  Points at which
    ``function`` has a kink closer than ``STEP`` will not do.
    """
    arrays = [np.asarray(array, np.float64) for array in arrays]
    tensors = [fc.Tensor(array, requires_grad=True) for array in arrays]
    result = function(*tensors)
    first = np.asarray(np.random.default_rng(7).standard_normal(result.shape))
    result.backward(first)

    @fc.no_grad()
    def value(*moved):
        return function(*(fc.Tensor(array) for array in moved)).numpy()

    for i, (tensor, wanted) in enumerate(
        zip(tensors, numerical(value, arrays, first), strict=True)
    ):
        assert tensor.grad is not None, f"operand {i} got no gradient"
        assert tensor.grad.dtype == np.float64
        scale = max(1.0, np.abs(wanted).max(initial=0))
        np.testing.assert_allclose(
            tensor.grad.numpy(), wanted, rtol=0, atol=tolerance * scale, err_msg=f"operand {i}"
        )
