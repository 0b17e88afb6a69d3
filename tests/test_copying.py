"""Copying rows, or pixels, into longer ones: what is not there becomes zero, and is not read."""

from __future__ import annotations

import numpy as np
import pytest
from harness import DTYPES

from fastconv.core.address import address
from fastconv.core.jit import kernel, record
from fastconv.core.stage import Stage
from fastconv.simd.copying import copy_filled, copy_rows
from fastconv.simd.vector import element, lanes


def _copying_kernel(itemsize):
    @kernel(record("target target_step source source_step rows low high columns"))
    def copying(worker, a):
        copy_rows(
            element(itemsize), a.target, a.target_step, a.source, a.source_step, a.rows, a.low,
            a.high, a.columns,
        )  # fmt: skip

    return copying


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 3, 8, 16, 17, 30, 32, 45, 64])
def test_rows_are_padded(columns, dtype):
    copying = Stage(_copying_kernel(np.dtype(dtype).itemsize), 1)
    rng = np.random.default_rng(0)
    edges = {(0, columns), (0, 0), (columns, columns), (1, columns), (0, columns - 1)}
    edges |= {(min(2, columns), max(2, columns - 3)), (columns // 2, columns // 2 + 1)}
    for low, high in sorted(edges):
        for rows in (0, 1, 4):
            source = np.full((rows, columns + 5), np.nan, dtype)
            source[:, low:high] = rng.standard_normal((rows, high - low))
            target = np.full((rows + 2, columns), np.nan, dtype)  # a fence before and behind
            copying.run(
                target=address(target) + target.strides[0],
                target_step=target.strides[0],
                source=address(source),
                source_step=source.strides[0],
                rows=rows,
                low=low,
                high=high,
                columns=columns,
            )
            expected = np.where(np.isnan(source), 0, source)[:, :columns]
            np.testing.assert_array_equal(target[1:-1], expected)
            assert np.isnan(target[[0, -1]]).all()


def _filling_kernel(itemsize):
    @kernel(record("target target_step source source_step count lanes"))
    def filling(worker, a):
        like = element(itemsize)
        copy_filled(like, a.target, a.target_step, a.source, a.source_step, a.count, a.lanes)

    return filling


@pytest.mark.parametrize("dtype", DTYPES)
def test_pieces_fill_vectors(dtype):
    itemsize = np.dtype(dtype).itemsize
    filling, vector = Stage(_filling_kernel(itemsize), 1), lanes(itemsize)
    for some in range(1, vector + 1):
        source = np.full((7, some + 2), np.nan, dtype)
        source[:, :some] = np.arange(7 * some).reshape(7, some) + 1
        target = np.full((9, vector + 3), np.nan, dtype)
        filling.run(
            target=address(target) + target.strides[0],
            target_step=target.strides[0],
            source=address(source),
            source_step=source.strides[0],
            count=7,
            lanes=some,
        )
        np.testing.assert_array_equal(target[1:-1, :some], source[:, :some])
        assert not target[1:-1, some:vector].any()
        assert np.isnan(target[[0, -1]]).all() and np.isnan(target[:, vector:]).all()
