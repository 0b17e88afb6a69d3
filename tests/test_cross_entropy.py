"""The cross entropy against its formula, sample by sample."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from gradients import check_gradients

import fastconv as fc
import fastconv.nn.functional as F
from fastconv import nn


def random(*shape, seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def cross_entropy(x, target, weight=None, ignore=-100, reduction="mean", smoothing=0.0):
    """Sample by sample from the formula, for scores (N, C)."""
    losses, counts = [], []
    for scores, t in zip(x, target, strict=True):
        c = len(scores)
        w = np.ones(c) if weight is None else weight
        p = np.exp(scores) / np.exp(scores).sum()
        if np.ndim(t):
            share, count = t, 1.0
        else:
            share, count = np.eye(c)[max(t, 0)], w[max(t, 0)] * (t != ignore)
        share = (1 - smoothing) * share + smoothing / c
        losses.append(-(w * share * np.log(p)).sum() * (np.ndim(t) > 0 or t != ignore))
        counts.append(count)
    total = {"none": losses, "sum": sum(losses), "mean": sum(losses) / sum(counts)}
    return np.array(total[reduction])


@pytest.mark.parametrize(
    ("kind", "weighted", "smoothing", "reduction"),
    list(
        itertools.product(
            ["classes", "ignoring", "probabilities"],
            [False, True],
            [0.0, 0.3],
            ["mean", "sum", "none"],
        )
    ),
)
def test_cross_entropy(kind, weighted, smoothing, reduction):
    x, weight = 3 * random(5, 4), np.array([0.5, 1, 2, 0.1]) if weighted else None
    target = np.array([3, 0, 1, 1, 2])
    if kind == "probabilities":
        target = np.random.default_rng(1).dirichlet(np.ones(4), 5)
    ignore = 1 if kind == "ignoring" else -100
    options = {"reduction": reduction, "label_smoothing": smoothing}
    loss = nn.CrossEntropyLoss(weight, ignore_index=ignore, **options)
    wanted = cross_entropy(x, target, weight, ignore, reduction, smoothing)
    np.testing.assert_allclose(loss(fc.Tensor(x), target).numpy(), wanted, rtol=1e-12)
    check_gradients(lambda t: loss(t, target), x)
    # the same samples as the pixels of images (N, C, H, W), and one by one
    pixels = np.moveaxis(x.reshape(1, 5, 1, 4), -1, 1)
    wide = (
        target.reshape(1, 5, 1) if target.ndim == 1 else np.moveaxis(target[None, :, None], -1, 1)
    )
    np.testing.assert_allclose(loss(pixels, wide).numpy().ravel(), np.ravel(wanted), rtol=1e-12)
    check_gradients(lambda t: loss(t, wide), pixels)
    if kind == "classes" and reduction == "none":
        alone = [loss(scores, np.asarray(t)).item() for scores, t in zip(x, target, strict=True)]
        np.testing.assert_allclose(alone, wanted, rtol=1e-12)


def test_cross_entropy_of_extreme_scores():
    x = fc.Tensor(np.array([[1e4, 0, -1e4], [-np.inf, 5, 5]], np.float32), requires_grad=True)
    loss = F.cross_entropy(x, np.array([2, 1]), reduction="none")
    np.testing.assert_allclose(loss.detach(), [2e4, math.log(2)], rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad, [[1, 0, -1], [0, -0.5, 0.5]], atol=1e-6)


def test_cross_entropy_where_nothing_counts():
    x = fc.Tensor(random(3, 4), requires_grad=True)
    loss = F.cross_entropy(x, np.full(3, -100))
    assert math.isnan(loss.item())
    loss.backward()
    np.testing.assert_array_equal(x.grad, 0)
    assert math.isnan(F.cross_entropy(np.ones((0, 4)), np.ones(0, int)).item())
    assert F.cross_entropy(np.ones((0, 4)), np.ones(0, int), reduction="sum").item() == 0


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_classes_may_be_any_integers(dtype):
    x, target = random(3, 4), np.array([3, 0, 1])
    wanted = cross_entropy(x, target)
    np.testing.assert_allclose(F.cross_entropy(x, target.astype(dtype)).item(), wanted)
    np.testing.assert_allclose(F.cross_entropy(x, fc.Tensor(target)).item(), wanted)
