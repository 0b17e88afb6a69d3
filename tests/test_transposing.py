"""Transposing parts of a square of lanes: nothing outside them is read or written."""

from __future__ import annotations

import numpy as np
import pytest
from harness import DTYPES

from fastconv.core.address import address
from fastconv.core.jit import kernel, record
from fastconv.core.stage import Stage
from fastconv.simd.transposing import transpose_even, transpose_tile
from fastconv.simd.vector import element, lanes


def _transposing_kernel(itemsize, transpose):
    @kernel(record("target target_step source source_step rows columns"))
    def transposing(worker, a):
        like = element(itemsize)
        transpose(like, a.target, a.target_step, a.source, a.source_step, a.rows, a.columns)

    return transposing


@pytest.mark.parametrize(("transpose", "stride"), [(transpose_tile, 1), (transpose_even, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_part_of_a_square(dtype, transpose, stride):
    itemsize = np.dtype(dtype).itemsize
    transposing, vector = Stage(_transposing_kernel(itemsize, transpose), 1), lanes(itemsize)
    for rows, columns in np.ndindex(vector, vector):
        rows, columns = rows + 1, columns + 1
        source = np.full((vector + 1, stride * vector + 3), np.nan, dtype)
        read = source[:rows, : stride * columns : stride]
        read[...] = np.arange(rows * columns).reshape(rows, columns)
        target = np.full((vector + 2, vector + 2), np.nan, dtype)
        transposing.run(
            target=address(target) + target.strides[0],
            target_step=target.strides[0],
            source=address(source),
            source_step=source.strides[0],
            rows=rows,
            columns=columns,
        )
        part = target[1 : columns + 1, :rows]
        np.testing.assert_array_equal(part, read.T)
        assert np.isfinite(target).sum() == rows * columns
