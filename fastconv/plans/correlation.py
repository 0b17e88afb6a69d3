"""The canonical form of the forward pass and of the input gradient: one strided correlation.

Along each spatial axis, output ``start + (i·block + a)·step`` sums input ``first + i·advance +
u·spread`` over the taps ``u``, where ``0 ≤ a < block`` and input outside the array counts as 0.
The weight that joins (a, u) is filter row ``taps[a][u]``, or none (−1).

* forward: ``advance`` is the stride, ``spread`` the dilation, ``block`` is 1.
* backward_input, one output *parity* at a time: the outputs h ≡ a (mod stride) see a stride-1
  convolution with a sub-filter; nothing is multiplied by an inserted zero.
* ``block > 1`` folds neighbouring outputs into the channel axis ("sub-pixel" form): all of them
  read the same window, so a vector of output channels is filled when there are few.  The window
  grows, and some (a, u) pairs have no weight; :func:`_better` says when that pays.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastconv.core.problem import ConvProblem


class Axis(NamedTuple):
    """One spatial axis of a correlation (see the module's formula)."""

    outputs: int  # blocks of outputs
    size: int  # extent of the output array
    start: int
    step: int
    block: int
    inputs: int  # extent of the input array
    first: int
    advance: int
    spread: int
    taps: tuple[tuple[int, ...], ...]  # [block][window]

    @property
    def window(self) -> int:
        return len(self.taps[0])

    def reach(self, outputs: int) -> int:
        """Positions of the input that so many outputs in a row have a part of."""
        return (outputs - 1) * self.advance + (self.window - 1) * self.spread + 1

    @property
    def inside(self) -> bool:
        """Whether the first tap of every output is inside the input."""
        return self.first >= 0 and self.first + (self.outputs - 1) * self.advance < self.inputs


class Correlation(NamedTuple):
    """A correlation over ``channels`` inputs and ``filters`` outputs in each of ``groups``."""

    N: int
    groups: int
    channels: int
    filters: int
    forward: bool  # whether filters and channels are those of w, or the other way round
    rows: Axis
    columns: Axis

    @property
    def lanes(self) -> int:
        """Outputs of one pixel block in one group: what the vector lanes run over."""
        return self.rows.block * self.columns.block * self.filters

    @property
    def folded(self) -> bool:
        return self.rows.block * self.columns.block > 1

    @property
    def pixels(self) -> int:
        return self.N * self.rows.outputs * self.columns.outputs

    @property
    def steps(self) -> int:
        """Terms of each sum."""
        return self.rows.window * self.columns.window * self.channels

    def read(self, itemsize: int) -> int:
        """Bytes of the input."""
        pixels = self.N * self.rows.inputs * self.columns.inputs
        return pixels * self.groups * self.channels * itemsize

    def written(self, itemsize: int) -> int:
        """Bytes of the outputs."""
        return self.pixels * self.groups * self.lanes * itemsize

    def moved(self, itemsize: int) -> int:
        """Bytes of input and outputs, each read or written once."""
        return self.read(itemsize) + self.written(itemsize)

    def tap_table(self) -> np.ndarray:
        """(r, s) of every (block position, window position); −1 where no weight joins them."""
        r = np.array(self.rows.taps)[:, None, :, None]
        s = np.array(self.columns.taps)[None, :, None, :]
        r, s = np.broadcast_arrays(r, s)
        table = np.stack([r, s], axis=-1)
        table[(r < 0) | (s < 0)] = -1
        blocks = self.rows.block * self.columns.block
        return table.reshape(blocks, self.rows.window * self.columns.window, 2).astype(np.int64)

    def executed(self, vector: int) -> int:
        """Multiplications carried out, vectors of ``vector`` lanes filled up with zeros."""
        padded = -(-self.lanes // vector) * vector
        return self.groups * self.pixels * self.steps * padded


def _forward_axis(outputs, inputs, taps, stride, pad, dilation, block) -> Axis:
    if block == 1:
        table = (tuple(range(taps)),)
        return Axis(outputs, outputs, 0, 1, 1, inputs, -pad, stride, dilation, table)
    window = (block - 1) * stride + taps
    table = tuple(
        tuple(u - a * stride if 0 <= u - a * stride < taps else -1 for u in range(window))
        for a in range(block)
    )
    blocks = -(-outputs // block)
    return Axis(blocks, outputs, 0, 1, block, inputs, -pad, block * stride, 1, table)


def _reached(problem: ConvProblem, axis: int) -> list[int]:
    """The parities of the input gradient along an axis that some tap reaches, in order."""
    outputs, _, taps, stride, pad = _gradient(problem, axis)
    dilation = problem.dilation[axis]
    reached = {(r * dilation - pad) % stride for r in range(taps)}
    return sorted(parity for parity in reached if parity < outputs)


def _parity_axis(outputs, inputs, taps, stride, pad, dilation, parity) -> Axis:
    """The outputs ≡ ``parity`` (mod stride) of the input gradient."""
    common = math.gcd(stride, dilation)
    reach = [r for r in range(taps) if (parity + pad - r * dilation) % stride == 0]
    reach.reverse()  # so that the inputs ascend
    first = (parity + pad - reach[0] * dilation) // stride
    count = -(-(outputs - parity) // stride)
    spread = dilation // common
    return Axis(count, outputs, parity, stride, 1, inputs, first, 1, spread, (tuple(reach),))


def _folded_axis(outputs, inputs, taps, stride, pad, block) -> Axis:
    """All outputs of the input gradient at once, ``block`` (a multiple of stride) in the lanes."""
    low = -((taps - 1 - pad) // stride)  # ceil((pad − taps + 1) / stride)
    high = (block - 1 + pad) // stride
    table = tuple(
        tuple(
            a + pad - u * stride if 0 <= a + pad - u * stride < taps else -1
            for u in range(low, high + 1)
        )
        for a in range(block)
    )
    blocks = -(-outputs // block)
    return Axis(blocks, outputs, 0, 1, block, inputs, low, block // stride, 1, table)


_BLOCKS = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 4), (2, 4), (4, 4))
_FAR = 4  # strides in taps
_MARGIN = 1.15  # folding must promise this much: its stores are scattered
_FEW_PARTS = 4  # parities: more take longer than a folded correlation if each has one tap and …
_FEW_PIXELS = 512  # … no more pixels than these
_MOST_PARTS = 64  # parities: more take longer in any case, for each of them by itself takes …
_PART = 500_000  # … the time of so many multiplications
_FEW_IMAGES = 8  # filters read tap by tap are not worth their time for fewer


def _foldable(problem: ConvProblem) -> bool:
    """Whether a window of several outputs is not mostly what none of them reads."""
    taps = (problem.R, problem.S)
    near = all(s <= _FAR * t for s, t in zip(problem.stride, taps, strict=True))
    return near and problem.dilation == (1, 1)


def forward(problem: ConvProblem, vector: int | None) -> list[Correlation]:
    """The forward pass as a correlation, folded if that fills vectors of that length better."""
    folded = [unfolded(problem, b) for b in _BLOCKS[1:]] if _foldable(problem) else []
    return _better([unfolded(problem)], folded, vector)


def unfolded(problem: ConvProblem, blocks: tuple[int, int] = (1, 1)) -> Correlation:
    """The forward pass with ``blocks`` of outputs in the lanes; without any by default."""
    axes = [
        _forward_axis(outputs, inputs, taps, stride, pad, dilation, block)
        for outputs, inputs, taps, stride, pad, dilation, block in zip(
            (problem.P, problem.Q),
            (problem.H, problem.W),
            (problem.R, problem.S),
            problem.stride,
            problem.padding[::2],
            problem.dilation,
            blocks,
            strict=True,
        )
    ]
    g = problem.groups
    return Correlation(problem.N, g, problem.C // g, problem.K // g, True, *axes)


def parities(problem: ConvProblem) -> list[Correlation]:
    """The input gradient as correlations over disjoint outputs; outputs in none of them are 0."""
    rows, columns = _parity_axes(problem)
    return [_gradient_correlation(problem, r, c) for r in rows for c in columns]


def _parity_axes(problem: ConvProblem) -> list[list[Axis]]:
    """The parities along each axis that some tap reaches."""
    return [
        [_parity_axis(*_gradient(problem, i), problem.dilation[i], a) for a in _reached(problem, i)]
        for i in (0, 1)
    ]


def backward_input(problem: ConvProblem, vector: int | None) -> list[Correlation]:
    """:func:`parities`, or all of them folded into one correlation if that takes less time."""
    if vector is None or not _foldable(problem):
        return parities(problem)
    problem = _apart(problem)
    folded = []
    for blocks in _BLOCKS:
        blocks = [b * s for b, s in zip(blocks, problem.stride, strict=True)]
        if blocks != [1, 1]:
            axes = [_folded_axis(*_gradient(problem, i), blocks[i]) for i in (0, 1)]
            folded.append(_gradient_correlation(problem, *axes))
    if _are_many(problem, folded, vector):
        return [_least(folded, vector)]
    return _better(parities(problem), folded, vector)


def _are_many(problem: ConvProblem, folded: list[Correlation], vector: int) -> bool:
    """Whether parities are so many that they take longer than a folded correlation."""
    rows, columns = _parity_axes(problem)
    parts, best = len(rows) * len(columns), _least(folded, vector)
    single = best.steps == best.channels and best.pixels <= _FEW_PIXELS
    if parts <= (_FEW_PARTS if single else _MOST_PARTS):
        return False
    # Multiplications of all parts, of which the first has as many filters as others.
    part = _gradient_correlation(problem, rows[0], columns[0])
    work = part.executed(vector)
    for axes in (rows, columns):
        products = [axis.outputs * axis.window for axis in axes]
        work = work * sum(products) // products[0]
    if parts > _MOST_PARTS:
        work += parts * _PART
    return best.executed(vector) <= _MARGIN * work


def _apart(problem: ConvProblem) -> ConvProblem:
    """The same gradient, strided by all taps along an axis with a single output.

    So every input meets the one tap that has a part in it.  (Few images take less time than reading
    filters tap by tap.)
    """
    if problem.N < _FEW_IMAGES:
        return problem
    sizes = zip(problem.stride, (problem.R, problem.S), (problem.P, problem.Q), strict=True)
    stride = tuple(max(s, taps) if outputs == 1 else s for s, taps, outputs in sizes)
    return problem._replace(stride=stride)


def joined_parities(problem: ConvProblem) -> Correlation:
    """The input gradient as one correlation with unit advance: all parities in the lanes."""
    if problem.stride == (1, 1):
        return parities(problem)[0]
    axes = [_folded_axis(*_gradient(problem, i), problem.stride[i]) for i in (0, 1)]
    return _gradient_correlation(problem, *axes)


def _gradient(problem: ConvProblem, axis: int) -> tuple[int, ...]:
    """Outputs, inputs, taps, stride and padding of the input gradient along an axis."""
    return (
        (problem.H, problem.W)[axis],
        (problem.P, problem.Q)[axis],
        (problem.R, problem.S)[axis],
        problem.stride[axis],
        problem.padding[2 * axis],
    )


def _gradient_correlation(problem: ConvProblem, rows: Axis, columns: Axis) -> Correlation:
    g = problem.groups
    return Correlation(problem.N, g, problem.K // g, problem.C // g, False, rows, columns)


def _better(
    plain: list[Correlation], folded: list[Correlation], vector: int | None
) -> list[Correlation]:
    """``plain``, or the folded form with the fewest multiplications if they are clearly fewer."""
    if not plain or vector is None:
        return plain
    if folded:
        best = _least(folded, vector)
        if _MARGIN * best.executed(vector) < executed(plain, vector):
            return [best]
    return plain


def _least(folded: list[Correlation], vector: int) -> Correlation:
    return min(folded, key=lambda c: c.executed(vector))


def moved(parts: list[Correlation], itemsize: int) -> int:
    """Bytes of the input that ``parts`` share, and of all their outputs."""
    return parts[0].read(itemsize) + sum(part.written(itemsize) for part in parts)


def executed(parts: list[Correlation], vector: int) -> int:
    """Multiplications that ``parts`` carry out together."""
    return sum(part.executed(vector) for part in parts)
