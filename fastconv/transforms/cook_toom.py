"""Winograd's minimal filtering F(m, r), from the Cook–Toom algorithm over any rational points.

For a row d of n = m + r − 1 inputs and a filter g of r taps, the m outputs of the correlation
y_i = Σ_u d_{i+u} g_u take n products instead of m·r:

    y = Aᵀ [(G g) ⊙ (Bᵀ d)]

With distinct points p_0 … p_{n−2} and infinity, M(x) = Π (x − p_k) and N_j = Π_{k≠j} (p_j − p_k):

    Aᵀ[i, j] = p_j^i                     column ∞: 1 in the last row
    G[j, u]  = p_j^u / N_j               row ∞:    1 in the last column
    Bᵀ[j, k] = the coefficient of x^k in M(x) / (x − p_j); row ∞: that in M(x)

It is the transpose of multiplying polynomials g and y by their values at the points: interpolation
becomes the transform of the input.  In two dimensions Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A.

The scale of each product is free: row j of Bᵀ and column j of Aᵀ take any factors when row j of G
is divided by both.  They are chosen such that points of the k-th magnitude have a 1 in column k of
Bᵀ and in row k of Aᵀ; so most sums of the transforms and their transposes can start from a term
without a factor.  (Powers of two change no rounding error, and other factors none that could be
measured.)

Sources: S. Winograd, "Arithmetic complexity of computations" (1980); A. Lavin and S. Gray, "Fast
algorithms for convolutional neural networks" (2016); B. Barabasz, A. Anderson, K. M. Soodhalter and
D. Gregg, "Error analysis and improving the accuracy of Winograd convolution for deep neural
networks" (2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

Matrix = tuple[tuple[Fraction, ...], ...]


class Matrices(NamedTuple):
    """The maps of F(m, r) with n = m + r − 1, as exact fractions."""

    input: Matrix  # n × n, Bᵀ
    weight: Matrix  # n × r, G
    output: Matrix  # m × n, Aᵀ


# n → the magnitudes p of the points ±p; 0 joins them when n is even, so that n − 1 are finite.
# Found by descent on measured float32 errors of two-dimensional convolutions, among fractions with
# small terms.  Points in pairs make short programs: even and odd parts are shared.
_MAGNITUDES = {
    1: "",
    2: "",
    3: "1/2",
    4: "1",
    5: "3/8 5/4",
    6: "2/3 3/2",
    7: "1/4 7/8 7/4",
    8: "1/2 1 2",
    9: "1/4 2/3 9/8 2",
    10: "3/8 4/5 5/4 5/2",
    11: "1/5 1/2 7/8 11/8 5/2",
    12: "3/8 2/3 1 3/2 3",
}


def cook_toom(m: int, r: int, points: Iterable[Fraction] | None = None) -> Matrices:
    """The matrices of F(m, r): m outputs of a correlation with r taps from m + r − 1 products.

    ``points`` are m + r − 2 distinct finite points (infinity is always the last one).  Raises
    ``ValueError`` for m < 1, r < 1, and for another number of points or equal ones.
    """
    if m < 1 or r < 1:
        raise ValueError(f"m and r must be at least 1, got m={m}, r={r}")
    n = m + r - 1
    points = default_points(n) if points is None else tuple(Fraction(p) for p in points)
    if len(points) != n - 1 or len(set(points)) != n - 1:
        raise ValueError(f"points of F({m}, {r}) must be {n - 1} distinct ones, got {points}")
    magnitudes = list(dict.fromkeys(map(abs, points)))
    inputs, taps, outputs = [], [], []
    for p in points:
        others = [q for q in points if q != p]
        row, powers = [*_from_roots(others), Fraction(0)], [p**i for i in range(m)]
        norm = math.prod((p - q for q in others), start=Fraction(1))
        k = magnitudes.index(abs(p))
        to_input, to_output = _inverse(row[k]), _inverse(powers[k] if k < m - 1 else 0)
        inputs.append([to_input * entry for entry in row])
        taps.append([p**u / (norm * to_input * to_output) for u in range(r)])
        outputs.append([to_output * entry for entry in powers])
    # Infinity.
    inputs.append(_from_roots(points))
    taps.append([Fraction(u == r - 1) for u in range(r)])
    outputs.append([Fraction(i == m - 1) for i in range(m)])
    return Matrices(_frozen(inputs), _frozen(taps), _frozen(zip(*outputs, strict=True)))


def default_points(n: int) -> tuple[Fraction, ...]:
    """The n − 1 finite points that do best for transforms of n inputs, n = 1 … 12."""
    if n not in _MAGNITUDES:
        raise ValueError(f"points must be given for m + r - 1 > {max(_MAGNITUDES)}, got {n}")
    pairs = [Fraction(p) * sign for p in _MAGNITUDES[n].split() for sign in (1, -1)]
    return tuple(pairs) if n % 2 else (Fraction(0), *pairs)


def error_growth(matrices: Matrices) -> float:
    """The expected rounding error in two dimensions, relative to that of plain sums: a bound.

    With uncorrelated inputs and taps, product (j, k) has the standard deviation
    ‖G_j‖ ‖G_k‖ ‖Bᵀ_j‖ ‖Bᵀ_k‖; its error is proportional to that, independent of the others', and
    reaches the outputs by Aᵀ.  The variance, relative to that of R·S plain products, is the square
    of one dimension's: the result is

        max_i Σ_j (Aᵀ_ij ‖G_j‖ ‖Bᵀ_j‖)² / r

    (Barabasz et al. add up worst cases instead, which measured errors do not follow.)  Summed over
    64 channels, the largest measured errors are 0.2 to 0.6 of this times those of the direct
    algorithm, whose sums are longer; over 4 channels, 0.5 to 1.6.
    """
    squares = [
        sum(g * g for g in taps) * sum(b * b for b in inputs)
        for taps, inputs in zip(matrices.weight, matrices.input, strict=True)
    ]
    variances = [
        sum(a * a * square for a, square in zip(row, squares, strict=True))
        for row in matrices.output
    ]
    return float(max(variances) / len(matrices.weight[0]))


def _from_roots(roots: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients of Π (x − root), the constant one first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, 0], strict=True)]
    return coefficients


def _inverse(entry: Fraction) -> Fraction:
    return 1 / entry if entry else Fraction(1)


def _frozen(rows: Iterable[Iterable[Fraction]]) -> Matrix:
    return tuple(map(tuple, rows))
