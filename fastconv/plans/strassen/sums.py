"""Sweeps over the four blocks of an array: its memory as rows of contiguous elements, and tasks."""

from __future__ import annotations

import functools
import math

import numpy as np

from fastconv.core.address import address
from fastconv.core.once import made_once
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import round_up
from fastconv.simd.blocks import ADDED, PARTS, RESULT

from .kernel import BLOCKS, block_sums_kernel

_TASK = 1 << 14  # elements of a block in a task
_PAGE, _SKEW = 4096, 320  # bytes
_EFFORT = 32  # of an element, in the floating-point operations that ``workers_for`` counts


def quarters(array: np.ndarray, turned: bool) -> list[np.ndarray]:
    """The blocks 11, 12, 21, 22 along the first two axes; ``turned``, rows lie on the second."""
    n, c = (size // 2 for size in array.shape[:2])
    blocks = [array[i : i + n, j : j + c] for i in (0, n) for j in (0, c)]
    return [blocks[i] for i in ((0, 2, 1, 3) if turned else (0, 1, 2, 3))]


@functools.lru_cache(maxsize=256)
def _rows(shape: tuple[int, ...], strides, part_strides, itemsize: int) -> dict[str, int]:
    """The rows of a block and of its parts, as arguments of the kernel.

    Axes that follow each other without a gap in both are one.  That leaves at most three outside
    the rows: where no axis has neighbours side by side, one has the size 1.
    """
    axes = sorted(zip(part_strides, strides, shape, strict=True))
    merged = [(itemsize, itemsize, 1)]
    for part_stride, stride, size in (axis for axis in axes if axis[2] != 1):
        *inside, count = merged[-1]
        if [part_stride, stride] == [step * count for step in inside]:
            merged[-1] = (*inside, count * size)
        else:
            merged.append((part_stride, stride, size))
    length, outer = merged[0][2], merged[1:]
    inner, middle, outermost = outer + [(0, 0, 1)] * (3 - len(outer))
    rows = inner[2] * middle[2] * outermost[2]
    share, pieces = max(1, _TASK // length), -(-length // _TASK)
    return dict(
        tasks=-(-rows // share) * pieces, rows=rows, share=share, length=length, pieces=pieces,
        piece=_TASK, middle=middle[2], inner=inner[2],
        part_outer=outermost[0], part_middle=middle[0], part_inner=inner[0],
        block_outer=outermost[1], block_middle=middle[1], block_inner=inner[1],
    )  # fmt: skip


class Sums:
    """The sums of one operand of a pass: from its blocks to their parts, or back for the result.

    ``shape`` is that of a block, ``order`` the memory order of the array.
    """

    def __init__(self, shape, order: str, dtype: str, operation: int, threads: int):
        self.shape, self.order, self.dtype, self.operation = shape, order, dtype, operation
        self.itemsize = np.dtype(dtype).itemsize
        self.elements = math.prod(shape)
        self.threads = threads
        # Parts whole pages apart would compete for the same sets of the cache.
        self.step = round_up(self.elements * self.itemsize, _PAGE) + _SKEW
        self.nbytes = PARTS[operation] * self.step

    @property
    def moved(self) -> int:
        """Bytes of the sweep: four blocks and all parts, the blocks of a result twice."""
        arrays = 4 + PARTS[self.operation] + 4 * (self.operation in (RESULT, ADDED))
        return arrays * self.elements * self.itemsize

    @property
    def workers(self) -> int:
        return workers_for(_EFFORT * self.elements, -(-self.elements // _TASK), self.threads)

    @made_once
    def stage(self) -> Stage:
        """The kernel; compiled when first asked for."""
        kernel = block_sums_kernel(self.itemsize, self.operation)
        return Stage(kernel, self.workers, part_step=self.step)

    def parts(self, memory: np.ndarray, offset: int) -> list[np.ndarray]:
        """The parts as arrays in ``memory``, from ``offset`` bytes on."""
        n, c, h, w = self.shape
        starts = range(offset, offset + self.nbytes, self.step)
        if self.order == "nchw":
            return [np.ndarray(self.shape, self.dtype, memory, at) for at in starts]
        turned = [np.ndarray((n, h, w, c), self.dtype, memory, at) for at in starts]
        return [part.transpose(0, 3, 1, 2) for part in turned]

    def run(self, blocks: list[np.ndarray], parts: list[np.ndarray], relu=False) -> bool:
        """From ``blocks`` to ``parts`` or back; whether every result is finite."""
        spoilt = np.zeros(1, np.int64)
        self.stage.run(
            **_rows(self.shape, blocks[0].strides, parts[0].strides, self.itemsize),
            **{name: address(b) for name, b in zip(BLOCKS, blocks, strict=True)},
            parts=address(parts[0]),
            relu=relu,
            flag=address(spoilt),
        )
        return not spoilt[0]
