"""Discrete Fourier transforms of any small length, as straight-line programs.

X_k = Σ_n x_n ω^{nk} with ω = exp(−2πi/T).  A length is taken apart by three rules:

- coprime factors: the prime-factor algorithm, which has no twiddle factors (Good, 1958);
- powers of two: conjugate-pair split radix, 8/3·T·log₂T instructions once the rotations are
  fused with the sums after them (Kamar and Elcherif, 1989; see :mod:`.flow` for the fusing);
- powers of other primes: Cooley–Tukey steps, and for the primes themselves the definition, with
  x_j and x_{p−j} taken together.

Real data has conjugate-symmetric transforms at every level, and only one half is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from .graph import Graph, Part
from .program import Program

Complex = tuple[Part, Part]


def real_spectrum(length: int, given: int, finish, first: int = 0) -> Program:
    """What ``finish(graph, X)`` lists, for X of ``given`` real inputs among zeros.

    The inputs stand from position ``first`` on, modulo the length.  Raises ``ValueError`` when that
    is odd or below 2.
    """
    if length < 2 or length % 2:
        raise ValueError(f"length must be even and at least 2, got {length}")
    graph = Graph(given)
    x: list[Complex] = [(None, None)] * length
    for n in range(given):
        x[(first + n) % length] = ((n, 1), None)
    return graph.program(finish(graph, dft(graph, x)))


def complex_spectrum(length: int, given: int, finish, first: int = 0) -> Program:
    """The same for ``given`` complex inputs, interleaved, and any length from 1 on."""
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    graph = Graph(2 * given)
    x: list[Complex] = [(None, None)] * length
    for n in range(given):
        x[(first + n) % length] = ((2 * n, 1), (2 * n + 1, 1))
    return graph.program(finish(graph, dft(graph, x)))


def half_complex(graph: Graph, x: Sequence[Complex]) -> list[Part]:
    """re_0, re_{T/2}, re_1, im_1, re_2, im_2, …, im_{T/2−1}: a half of a symmetric spectrum."""
    half = len(x) // 2
    return [x[0][0], x[half][0], *(part for z in x[1:half] for part in z)]


def dft(graph: Graph, x: Sequence[Complex]) -> list[Complex]:
    """The transform of ``x``; costs half when all imaginary parts are zero."""
    length = len(x)
    if length == 1:
        return list(x)
    spectrum = _Spectrum(x)
    prime = next(p for p in range(2, length + 1) if length % p == 0)
    power = prime
    while length % (power * prime) == 0:
        power *= prime
    if power < length:
        _prime_factors(graph, x, power, spectrum)
    elif length == 2:
        spectrum.put(0, _sum(graph, x[0], x[1], 1))
        spectrum.put(1, _sum(graph, x[0], x[1], -1))
    elif prime == 2:
        _split_radix(graph, x, spectrum)
    elif prime < length:
        _cooley_tukey(graph, x, prime, spectrum)
    else:
        _definition(graph, x, spectrum)
    return spectrum.values


class _Spectrum:
    """Outputs as they become known; those of real data come in conjugate pairs."""

    def __init__(self, x: Sequence[Complex]):
        self.real = all(im is None for _, im in x)
        self.values: list = [None] * len(x)

    def put(self, k: int, value: Complex) -> None:
        k %= len(self.values)
        if self.values[k] is None:
            self.values[k] = value
        if self.real and self.values[-k] is None:
            self.values[-k] = value[0], _times(-1, value[1])

    def lacks(self, indices: Iterable[int]) -> bool:
        return any(self.values[k % len(self.values)] is None for k in indices)


def _prime_factors(graph, x, first, spectrum):
    """Two dimensions: n = second·n₁ + first·n₂, and k by its remainders k₁ and k₂."""
    length = len(x)
    second = length // first
    rows = [
        dft(graph, [x[(second * i + first * j) % length] for j in range(second)])
        for i in range(first)
    ]
    at = {(k % first, k % second): k for k in range(length)}
    for column in range(second):
        outputs = [at[row, column] for row in range(first)]
        if spectrum.lacks(outputs):
            for k, z in zip(outputs, dft(graph, [row[column] for row in rows]), strict=True):
                spectrum.put(k, z)


def _cooley_tukey(graph, x, radix, spectrum):
    """X_{k+qM} = Σ_j ω_radix^{jq} · ω^{jk} Y^j_k, Y^j transforms every radix-th input."""
    part = len(x) // radix
    rows = [dft(graph, x[j::radix]) for j in range(radix)]
    for k in range(part):
        outputs = range(k, len(x), part)
        if spectrum.lacks(outputs):
            turned = [_rotate(graph, row[k], Fraction(j * k, len(x))) for j, row in enumerate(rows)]
            for output, z in zip(outputs, dft(graph, turned), strict=True):
                spectrum.put(output, z)


def _split_radix(graph, x, spectrum):
    """X_{k+qT/4} from the even inputs' U, and from Z and Z' of inputs 4n + 1 and 4n − 1.

    X_k = U_k + (ω^k Z_k + ω^{−k} Z'_k); at k + T/2 the sum is taken away; at k + T/4 it is
    −i (ω^k Z_k − ω^{−k} Z'_k).
    """
    length, quarter = len(x), len(x) // 4
    u = dft(graph, x[::2])
    z = dft(graph, x[1::4])
    w = dft(graph, [x[(4 * n - 1) % length] for n in range(quarter)])
    for k in range(quarter):
        if not spectrum.lacks(range(k, length, quarter)):
            continue
        a = _rotate(graph, z[k], Fraction(k, length))
        b = _rotate(graph, w[k], Fraction(-k, length))
        plus = _sum(graph, a, b, 1)
        minus = _rotate(graph, _sum(graph, a, b, -1), Fraction(1, 4))
        for q, (base, term, sign) in enumerate(
            [(u[k], plus, 1), (u[k + quarter], minus, 1),
             (u[k], plus, -1), (u[k + quarter], minus, -1)]
        ):  # fmt: skip
            spectrum.put(k + q * quarter, _sum(graph, base, term, sign))


def _definition(graph, x, spectrum):
    """An odd prime: X_{±k} = A_k ∓ i B_k with cosines of x_j + x_{−j} and sines of x_j − x_{−j}."""
    length = len(x)
    pairs = range(1, length // 2 + 1)
    even = [_sum(graph, x[j], x[-j], 1) for j in pairs]
    odd = [_sum(graph, x[j], x[-j], -1) for j in pairs]
    spectrum.put(0, tuple(graph.add((1, x[0][c]), *((1, e[c]) for e in even)) for c in (0, 1)))
    for k in pairs:
        turns = [2 * math.pi * (j * k % length) / length for j in pairs]
        cosines, sines = [math.cos(t) for t in turns], [math.sin(t) for t in turns]
        a = tuple(
            graph.add((1, x[0][c]), *zip(cosines, (e[c] for e in even), strict=True))
            for c in (0, 1)
        )
        b = tuple(graph.add(*zip(sines, (o[c] for o in odd), strict=True)) for c in (0, 1))
        turned = _rotate(graph, b, Fraction(1, 4))
        spectrum.put(k, _sum(graph, a, turned, 1))
        spectrum.put(-k, _sum(graph, a, turned, -1))


def _times(factor: float, part: Part) -> Part:
    return None if part is None else (part[0], factor * part[1])


def _sum(graph: Graph, a: Complex, b: Complex, sign: int) -> Complex:
    return graph.add((1, a[0]), (sign, b[0])), graph.add((1, a[1]), (sign, b[1]))


def _rotate(graph: Graph, z: Complex, turn: Fraction) -> Complex:
    """z · exp(−2πi·turn), by multiples of a quarter and an eighth exactly."""
    quarters, rest = divmod(turn % 1 * 4, 1)
    re, im = z
    if rest:
        angle = float(rest) * math.pi / 2
        c, s = math.cos(angle), math.sin(angle)
        if rest == Fraction(1, 2):
            c = s = math.sqrt(0.5)
        re, im = graph.add((c, re), (s, im)), graph.add((c, im), (-s, re))
    for _ in range(quarters):
        re, im = im, _times(-1, re)
    return re, im
