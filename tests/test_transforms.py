"""Transforms: exact matrices, and programs that are those matrices."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from fastconv.transforms.cook_toom import cook_toom
from fastconv.transforms.factoring import from_matrix
from fastconv.transforms.flow import transpose
from fastconv.transforms.program import Op, Program, apply, count

SIZES = tuple(
    (m, r) for m, r in itertools.product(range(1, 9), range(1, 8)) if m + r - 1 <= 8
)  # fmt: skip


def _dense(matrix):
    return np.array([[float(entry) for entry in row] for row in matrix])


def _close(program, expected):
    actual = apply(program, np.eye(expected.shape[1]))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-14 * np.abs(expected).max())


def _times(matrix, vector):
    return [sum(a * x for a, x in zip(row, vector, strict=True)) for row in matrix]


def _fractions(length, rng):
    return [Fraction(int(rng.integers(-99, 100)), int(rng.integers(1, 10))) for _ in range(length)]


def _is_correlation(matrices, m, r):
    rng = np.random.default_rng(m * 10 + r)
    d, g = _fractions(m + r - 1, rng), _fractions(r, rng)
    products = [
        a * b for a, b in zip(_times(matrices.weight, g), _times(matrices.input, d), strict=True)
    ]
    expected = [sum(d[i + u] * g[u] for u in range(r)) for i in range(m)]
    assert _times(matrices.output, products) == expected


@pytest.mark.parametrize(("m", "r"), SIZES)
def test_cook_toom_is_the_correlation_exactly(m, r):
    _is_correlation(cook_toom(m, r), m, r)


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (3, 2), (1, 5)])
def test_any_distinct_points_will_do(m, r):
    points = [Fraction(k * k - 3, k + 2) for k in range(m + r - 2)]
    _is_correlation(cook_toom(m, r, points), m, r)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3), "m and r must be at least 1, got m=0"),
        ((2, 0), "r=0"),
        ((2, 3, [0, 1]), "must be 3 distinct ones"),
        ((2, 3, [0, 1, 1]), "must be 3 distinct ones"),
        ((40, 3), "points must be given"),
    ],
)
def test_cook_toom_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        cook_toom(*arguments)


@pytest.mark.parametrize(("m", "r"), SIZES)
def test_programs_and_their_transposes_are_the_matrices(m, r):
    for matrix in cook_toom(m, r):
        program, dense = from_matrix(matrix), _dense(matrix)
        _close(program, dense)
        _close(transpose(program), dense.T)


@pytest.mark.parametrize("seed", range(20))
def test_programs_of_random_matrices(seed):
    """Sparse rows of small integers, with zero rows, repeated rows and multiples of rows."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-3, 4, (6, 5)) * (rng.random((6, 5)) < 0.6)
    matrix[1], matrix[2], matrix[3] = 0, -2 * matrix[0], matrix[0]
    program = from_matrix(matrix.tolist())
    _close(program, matrix)
    _close(transpose(program), matrix.T)
    np.testing.assert_array_equal(program.results[1], -1)


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="rows of one length"):
        from_matrix([[1, 2], [3]])


def test_apply_refuses_another_number_of_values():
    with pytest.raises(ValueError, match=r"must hold 4 inputs, got shape \(3, 2\)"):
        apply(from_matrix(cook_toom(2, 3).input), np.zeros((3, 2)))


def test_kinds_of_operations():
    ops = (Op(1.0, 0, -1, 1), Op(3.0, 2, 1, 0), Op(0.5, 3, 0, -1))
    program = Program(2, ops, (4, -1, 2))
    assert count(program) == (1, 1, 1) and count(program).total == 3
    x = np.array([[2.0, 3.0], [1.0, 5.0]], np.float32)
    result = apply(program, x)
    np.testing.assert_array_equal(result, [[2.5, -1.5], [0, 0], [1, -2]])
    assert result.dtype == np.float32


# (m, r) → most instructions for the maps of the input, the weight and the output.
LENGTHS = {
    (2, 3): (4, 5, 4),
    (3, 3): (10, 8, 9),
    (4, 3): (12, 9, 12),
    (6, 3): (24, 13, 20),
    (2, 5): (12, 15, 8),
    (4, 5): (24, 22, 16),
}


@pytest.mark.parametrize("size", LENGTHS, ids=str)
def test_programs_are_short(size):
    lengths = [count(from_matrix(matrix)).total for matrix in cook_toom(*size)]
    assert all(a <= b for a, b in zip(lengths, LENGTHS[size], strict=True)), lengths
