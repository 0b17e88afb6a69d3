"""Transforms: exact matrices, and programs that are those matrices."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fastconv.transforms.cook_toom import cook_toom, default_points, error_growth
from fastconv.transforms.factoring import from_matrix
from fastconv.transforms.flow import transpose
from fastconv.transforms.program import Op, Program, apply, count

ALL = tuple((m, r) for r in range(1, 8) for m in range(1, 14 - r))
SIZES = (*(size for size in ALL if sum(size) <= 9), (7, 3), (8, 3), (7, 5), (6, 7))


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


@pytest.mark.parametrize(("m", "r"), ALL)
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


# (m, r) → most instructions for the maps of the input, the weight and the output, each with its
# transpose.
LENGTHS = {
    (2, 3): ((4, 4), (4, 4), (4, 2)),
    (3, 3): ((10, 12), (8, 10), (8, 6)),
    (4, 3): ((12, 13), (8, 10), (10, 8)),
    (6, 3): ((24, 25), (12, 15), (20, 18)),
    (2, 5): ((12, 13), (14, 14), (8, 4)),
    (4, 5): ((24, 25), (21, 21), (16, 12)),
}


@pytest.mark.parametrize("size", LENGTHS, ids=str)
def test_programs_are_short(size):
    for matrix, most in zip(cook_toom(*size), LENGTHS[size], strict=True):
        program = from_matrix(matrix)
        assert count(program).total <= most[0] and count(transpose(program)).total <= most[1]


def _alive(program):
    """The most values that wait for a use at once; inputs are loaded and outputs stored at once."""
    last = {source: k for k, op in enumerate(program.ops) for source in (op.x, op.y)}
    first = {}
    for k, op in enumerate(program.ops):
        first |= {source: first.get(source, k) for source in (op.x, op.y) if source >= 0}
        first[program.inputs + k] = k + 1
    lives = [(first[value], last[value]) for value in first if value in last]
    return max(sum(a <= k <= b for a, b in lives) for k in range(len(program.ops)))


@pytest.mark.parametrize("size", LENGTHS, ids=str)
def test_programs_fit_in_sixteen_registers(size):
    for matrix in cook_toom(*size):
        program = from_matrix(matrix)
        assert _alive(program) < 12 and _alive(transpose(program)) < 12


def _errors(m, r, rectified):
    """Root mean square errors of F(m, r) and of plain sums in float32, over 32 channels."""
    n = m + r - 1
    rng = np.random.default_rng(n)
    d, g = rng.normal(size=(n, n, 100, 32)), rng.normal(size=(r, r, 32, 8))
    if rectified:
        d = np.maximum(d, 0)
    d, g = d.astype(np.float32), g.astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(d, (r, r), axis=(0, 1))
    windows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(m, m, 100, -1)
    exact = windows.astype(float) @ g.reshape(-1, 8).astype(float)

    def both(program, tile):
        tile = np.swapaxes(apply(program, tile), 0, 1)
        return np.swapaxes(apply(program, tile), 0, 1)

    inputs, taps, outputs = map(from_matrix, cook_toom(m, r))
    transformed = both(outputs, both(inputs, d) @ both(taps, g))
    plain = windows @ g.reshape(-1, 8)
    assert plain.dtype == transformed.dtype == np.float32
    return [np.sqrt(np.square(y - exact).mean()) for y in (transformed, plain)]


@pytest.mark.parametrize("rectified", [False, True], ids=["normal", "rectified"])
@pytest.mark.parametrize("size", [(2, 3), (4, 3), (6, 3), (8, 3), (2, 5), (4, 5), (6, 7)], ids=str)
def test_errors_grow_as_foretold(size, rectified):
    error, direct = _errors(*size, rectified)
    growth = error_growth(cook_toom(*size))
    assert 0.1 * growth * direct < error < growth * direct


@pytest.mark.parametrize(
    ("size", "growth"), [((2, 3), 5 / 3), ((3, 1), 5 / 2), ((1, 3), 139 / 96), ((4, 3), 7.1348302)]
)
def test_growth_is_that_of_the_worst_output_over_so_many_taps(size, growth):
    assert error_growth(cook_toom(*size)) == pytest.approx(growth)


@pytest.mark.parametrize("n", [4, 6, 8])
def test_default_points_do_better_than_integers(n):
    integers = [0, 1, -1, 2, -2, 3, -3, 4, -4][: n - 1]
    r = 3
    ours = error_growth(cook_toom(n - r + 1, r))
    assert ours <= error_growth(cook_toom(n - r + 1, r, integers))
    assert len(default_points(n)) == n - 1
