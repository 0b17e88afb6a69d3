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
# Found by measuring float32 errors of two-dimensional convolutions.  Points in pairs make short
# programs (even and odd parts are shared), and fractions of powers of two have exact powers.
_MAGNITUDES = {
    1: "",
    2: "",
    3: "1/2",
    4: "1",
    5: "3/8 5/4",
    6: "5/8 3/2",
    7: "1/4 7/8 7/4",
    8: "1/2 1 2",
    9: "1/4 5/8 9/8 2",
    10: "3/8 3/4 5/4 5/2",
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
    others = [[q for q in points if q != p] for p in points]
    infinite = [Fraction(0)]
    rows = [_from_roots(rest) + infinite for rest in others]
    norms = [_product(p - q for q in rest) for p, rest in zip(points, others, strict=True)]
    taps = [[p**u / norm for u in range(r)] for p, norm in zip(points, norms, strict=True)]
    powers = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    last = [Fraction(u == r - 1) for u in range(r)]
    return Matrices(_frozen([*rows, _from_roots(points)]), _frozen([*taps, last]), _frozen(powers))


def default_points(n: int) -> tuple[Fraction, ...]:
    """The n − 1 finite points that do best for transforms of n inputs, n = 1 … 10."""
    if n not in _MAGNITUDES:
        raise ValueError(f"points must be given for m + r - 1 > {max(_MAGNITUDES)}, got {n}")
    pairs = [Fraction(p) * sign for p in _MAGNITUDES[n].split() for sign in (1, -1)]
    return tuple(pairs) if n % 2 else (Fraction(0), *pairs)


def error_growth(matrices: Matrices) -> float:
    """How much larger the worst rounding error in two dimensions is than that of direct sums.

    Rounding errors of the transforms and products are at most a small multiple of
    ε·|Aᵀ| ((|G| |g| |Gᵀ|) ⊙ (|Bᵀ| |d| |B|)) |A|, those of direct sums of ε·Σ |d| |g|.  This is the
    largest ratio of the two when all |d| are equal and all |g| are equal (Barabasz et al. 2020):
    the square of max_i Σ_j |Aᵀ|_ij ‖G_j‖₁ ‖Bᵀ_j‖₁ / r.
    """
    taps = [sum(map(abs, row)) for row in matrices.weight]
    inputs = [sum(map(abs, row)) for row in matrices.input]
    sums = [
        sum(abs(a) * g * b for a, g, b in zip(row, taps, inputs, strict=True))
        for row in matrices.output
    ]
    return float(max(sums) / len(matrices.weight[0])) ** 2


def _from_roots(roots: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients of Π (x − root), the constant one first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - root * b for a, b in zip(shifted, [*coefficients, 0], strict=True)]
    return coefficients


def _product(factors: Iterable[Fraction]) -> Fraction:
    return math.prod(factors, start=Fraction(1))


def _frozen(rows: list[list[Fraction]]) -> Matrix:
    return tuple(map(tuple, rows))
