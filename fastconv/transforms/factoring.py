"""A short program for a small matrix: common parts of its rows are found and computed once.

Two rewritings, each greedy, look at the matrix from both sides:

- **Pairs** (columns).  Where several rows hold two values in the same proportion, ``x + ρ·y``
  becomes a value of its own (Paar, 1997, over the rationals and up to scale).
- **Rotations** (rows).  Two rows are replaced by two others of the same plane with more zeros, as
  the even and the odd part when points p and −p give the rows; both come back by one instruction
  each.

Rewriting the transposed matrix and transposing the program gives other results; the cheapest wins.
"""

from __future__ import annotations

import graphlib
import itertools
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from .flow import Flow, reverse, to_program
from .program import ZERO, Program, count

_Row = dict[int, Fraction]  # value → factor, without zeros


def from_matrix(matrix: Sequence[Sequence[Fraction]]) -> Program:
    """A program for ``y = matrix @ x``; exact but for the rounding of its constants to float64.

    Raises ``ValueError`` when the rows have different lengths.
    """
    widths = {len(row) for row in matrix}
    if len(widths) != 1:
        raise ValueError(f"matrix must have rows of one length, got lengths {sorted(widths)}")
    exact = [[Fraction(entry) for entry in row] for row in matrix]
    across = list(zip(*exact, strict=True))
    programs = []
    for rotate in (False, True):
        programs.append(to_program(_factor(exact, rotate)))
        programs.append(to_program(reverse(_factor(across, rotate))))
    return min(programs, key=_cost)


def _cost(program: Program) -> tuple[int, int]:
    total = count(program)
    return total.total, total.fmas + total.scalings


def _factor(matrix: Sequence[Sequence[Fraction]], rotate: bool) -> Flow:
    width = len(matrix[0])
    names = itertools.count(width)
    rows = {next(names): {i: f for i, f in enumerate(row) if f} for row in matrix}
    outputs = tuple(rows)
    finished = _rotate(rows, names) if rotate else {}
    _share_pairs(rows, names)
    return _sorted(width, rows | finished, outputs)


def _rotate(rows: dict[int, _Row], names) -> dict[int, _Row]:
    """Replace pairs of ``rows`` while that pays; returns the sums that give back those replaced."""
    finished: dict[int, _Row] = {}
    planes: dict[tuple[int, int], tuple[int, list[_Row]]] = {}
    while True:
        pairs = list(itertools.combinations([name for name in rows if rows[name]], 2))
        for first, second in pairs:
            if (first, second) not in planes:
                planes[first, second] = _sparsest_basis(rows[first], rows[second])
        best = max(pairs, key=lambda pair: planes[pair][0], default=None)
        if best is None or planes[best][0] <= 0:
            return finished
        old = {name: rows.pop(name) for name in best}
        basis = {}
        for row in planes[best][1]:
            basis[next((name for name in old if old[name] is row), None) or next(names)] = row
        rows |= basis
        finished |= {name: _coordinates(old[name], basis) for name in old if name not in basis}


def _sparsest_basis(r: _Row, s: _Row) -> tuple[int, list[_Row]]:
    """Rows that span the plane of r and s, and how many instructions they save.

    Candidates are r, s and every ``r - c·s`` with a new zero.  A row costs its terms, and r or s
    costs one more when it is not among the two.
    """
    zeros = Counter(r[i] / s[i] for i in r if i in s)
    union = len(r.keys() | s.keys())
    if union in zeros.values():  # r is a multiple of s
        return len(s) - 1, [r]
    candidates = [(len(r) - 1, r, 0), (len(s) - 1, s, 0)]
    candidates += [(union - found, None, c) for c, found in zeros.items()]
    chosen = sorted(candidates, key=lambda candidate: candidate[0])[:2]
    saved = len(r) + len(s) - 2 - sum(cost for cost, _, _ in chosen)
    return saved, [_difference(r, c, s) if row is None else row for _, row, c in chosen]


def _difference(r: _Row, c: Fraction, s: _Row) -> _Row:
    row = {i: r.get(i, Fraction(0)) - c * s.get(i, Fraction(0)) for i in r.keys() | s.keys()}
    return {i: row[i] for i in sorted(row) if row[i]}


def _coordinates(row: _Row, basis: dict[int, _Row]) -> _Row:
    """``row`` as a combination of one or two rows (by Cramer's rule)."""
    if len(basis) == 1:
        ((name, only),) = basis.items()
        i = next(iter(row))
        return {name: row[i] / only[i]}
    (p, u), (q, v) = basis.items()
    for i, j in itertools.combinations(sorted(u.keys() | v.keys()), 2):
        (a, b), (c, d), (e, f) = (
            (x.get(i, Fraction(0)), x.get(j, Fraction(0))) for x in (u, v, row)
        )
        if determinant := a * d - b * c:
            found = {p: (e * d - f * c) / determinant, q: (a * f - b * e) / determinant}
            return {name: factor for name, factor in found.items() if factor}
    raise AssertionError("a basis of a plane has two independent columns")


def _share_pairs(rows: dict[int, _Row], names) -> None:
    """Give every pair of terms that several rows hold in proportion a row of its own."""
    while True:
        found = Counter(
            (i, j, row[j] / row[i])
            for row in rows.values()
            for i, j in itertools.combinations(sorted(row), 2)
        )
        best = max(found, key=lambda pair: (found[pair], abs(pair[2]) == 1), default=None)
        if best is None or found[best] < 2:
            return
        i, j, ratio = best
        name = next(names)
        for row in rows.values():
            if i in row and j in row and row[j] == ratio * row[i]:
                row[name] = row.pop(i)
                del row[j]
        rows[name] = {i: Fraction(1), j: ratio}


def _sorted(inputs: int, rows: dict[int, _Row], outputs: tuple[int, ...]) -> Flow:
    """The graph of the rows, each after those that it needs."""
    order = graphlib.TopologicalSorter({name: sorted(row) for name, row in rows.items()})
    place = {name: name for name in range(inputs)}
    sums = []
    for name in order.static_order():
        if rows.get(name):
            place[name] = inputs + len(sums)
            sums.append({place[i]: factor for i, factor in rows[name].items()})
    return Flow(inputs, sums, tuple(place.get(name, ZERO) for name in outputs))
