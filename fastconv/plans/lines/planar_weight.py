"""``direct``'s weight gradient for planes of few channels: pixels in the lanes, not filters.

    dw[k, t] = Σ_p dy[k, p] · x[p + t]

Every sum is a dot product of rows, so neither operand need be transposed: dy is read where it is,
and x from planes in which a tap is an offset (:mod:`fastconv.plans.depthwise.planes`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import ALIGN, aligned
from fastconv.gemm.sharing import share_out, workers_for
from fastconv.gemm.tiling import dot_tiles, even_split, round_up
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import window_of
from fastconv.plans.correlation import Correlation, unfolded
from fastconv.plans.depthwise.planes import Planes
from fastconv.plans.depthwise.units import Units
from fastconv.plans.sum_tasks import sum_tasks
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.tiles import tile_tap_dots
from fastconv.simd.vector import lanes

from .apart import (
    WINDOW_BYTES,
    plane_bytes,
    result_bytes,
    separating,
    soon_planes,
    soon_planes_of_groups,
    window_rows,
)
from .planar_weight_kernel import planar_add_kernel, planar_weight_kernel

_MOST_TAPS = 512  # of all channels; more are as well transposed
_MOST_STEPS = 256  # vectors summed in one go: rounding errors of equal terms all point the same way
# In multiply-adds of vectors: beginning and ending a tile, beginning a row, packing a vector,
# making planes of one, waiting for a cache line that the first-level cache has no room for.
_START, _ROW, _PACK, _APART, _LINE = 150, 4, 10, 10, 4
# Rows, and images, of a block: at most so many.
_ROWS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, _MOST_STEPS)
_IMAGES = (2, 4, 8, 16)
_BLOCKS = 16  # for each worker, enough to share them out evenly
_TURNS = 4  # parts of the groups for each worker


class _Cut(NamedTuple):
    """A block: some rows of an image, or some images; whether its planes are flat.

    Dot products are of so many ``stretches`` of pixels that follow one another.
    """

    flat: bool
    images: int
    rows: int
    stretches: int
    length: int


class _Shape(NamedTuple):
    """How a group is computed: time taken (in multiply-adds of vectors), block, tile."""

    time: float
    cut: _Cut
    mr: int
    nt: int


def _planes(c: Correlation, rows: int, flat: bool, itemsize: int) -> Planes:
    units = Units(c, "nchw", itemsize, splat=True)
    return Planes([c], rows, units, lanes(itemsize) * itemsize, flat)


class PlanarWeight(WeightGradient):
    """One weight gradient of a plan, like :class:`.BlockedWeight`."""

    kind = "taps"
    along_planes = True

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = itemsize = problem.itemsize
        self.vector = lanes(itemsize)
        self.threads = threads
        self.units = Units(c, "nchw", itemsize, splat=True)
        self.apart = (
            problem.x_format == "nhwc" and problem.C > 1,
            problem.y_format == "nhwc" and problem.K > 1,
        )
        # Of the groups; pixels become planes of all of them at a time, which are not divided then.
        self.most_parts = 1 if any(self.apart) else c.groups
        rows = c.N * self.most_parts * c.rows.outputs
        self.workers = workers_for(problem.flops, rows, threads, c.moved(itemsize))
        self.time, self.cut, self.mr, self.nt = self._shape()
        self.planes = self._planes(self.cut)
        self.tiles, self.tap_tiles = -(-c.filters // self.mr), -(-c.steps // self.nt)
        self.tile_bytes = round_up(self.mr * self.nt, self.vector) * itemsize
        self.unit_bytes = self.tiles * self.tap_tiles * self.tile_bytes
        self.copy_bytes = c.groups * self.unit_bytes
        self.tasks_i = -(-c.rows.outputs // self.cut.rows)
        self.blocks = -(-c.N // self.cut.images) * self.tasks_i
        self.copies, self.parts = share_out(
            self.workers, self.blocks, self.most_parts, self.copy_bytes, c.pixels, _TURNS
        )
        self.workers = min(self.workers, self.copies * self.parts)
        self.planes_bytes = aligned(self.planes.nbytes)
        # Rows of channels-last pixels as planes.
        self.pixels = aligned(WINDOW_BYTES + 64 + self.cut.images * self.planes_bytes)
        self.x_plane = plane_bytes(c, self.planes, itemsize)
        self.dy_plane = result_bytes(c, self.cut.rows, itemsize)
        pixels, gradient = self._apart_bytes(self.cut, self.planes)
        self.turned = self.blocks * (self.cut.images * pixels + gradient)
        self.gradient = self.pixels + pixels
        self.worker_bytes = self.gradient + gradient
        self.nbytes = aligned(self.copies * self.copy_bytes) + self.workers * self.worker_bytes
        self.x_window = window_record(
            self.units.all_inputs, self.units.inputs, (c.rows.inputs, c.columns.inputs),
            self.planes.first, (c.rows.advance, c.columns.advance), self.vector,
        )  # fmt: skip
        # Tiles are filled up with taps whose sums nobody reads.
        taps = self.planes.tap_offsets().ravel()
        self.taps = np.resize(taps, self.tap_tiles * self.nt)

    @staticmethod
    def applies(problem: ConvProblem) -> bool:
        """Whether this plan can run ``problem`` and suits it: planes of few channels, long rows."""
        c, vector = unfolded(problem), lanes(problem.itemsize)
        soon = soon_planes(c, problem.itemsize) or soon_planes_of_groups(c, problem.itemsize)
        return (
            (problem.x_format == "nchw" or problem.C == 1 or soon)
            and (problem.y_format == "nchw" or soon)
            and 1 < c.steps <= _MOST_TAPS
            and vector // 2 <= c.columns.outputs <= _MOST_STEPS * vector
            and _planes(c, 1, False, problem.itemsize).nbytes <= machine().l2 // 2
        )

    def _cuts(self) -> Iterator[_Cut]:
        """Blocks to choose from: enough to share them out evenly."""
        c, height, width = self.c, self.c.rows.outputs, self.c.columns.outputs
        fair = c.N * self.most_parts * height
        if self.workers > 1:
            fair = max(1, fair // (_BLOCKS * self.workers))
        rows = {even_split(height, most) for most in _ROWS if most <= fair}
        images = [most for most in _IMAGES if most <= min(c.N, fair // height)]
        if any(self.apart) and c.groups > 1:  # whose planes are of one image at a time
            images = []
        cuts = [_Cut(False, 1, some, some, width) for some in rows]
        if c.columns.spread == 1:
            cuts += [_Cut(True, 1, some, 1, some * width) for some in rows]
            cuts += [_Cut(True, some, height, some, height * width) for some in images]
        for cut in cuts:
            few = cut.stretches * -(-cut.length // self.vector) <= _MOST_STEPS
            if (few and self._held(cut) <= machine().l2 // 2) or cut[:3] == (False, 1, 1):
                yield cut

    def _apart_bytes(self, cut: _Cut, planes: Planes) -> tuple[int, int]:
        """What planes of the pixels of a block take: of an image of x at a time, of all of dy."""
        c, (x_apart, dy_apart) = self.c, self.apart
        plane = plane_bytes(c, planes, self.itemsize)
        gradient = cut.images * result_bytes(c, cut.rows, self.itemsize)
        return (
            x_apart * aligned(c.groups * c.channels * plane),
            dy_apart * aligned(c.groups * c.filters * gradient),
        )

    def _held(self, cut: _Cut) -> int:
        """Bytes of the planes of a block."""
        planes = self._planes(cut)
        return cut.images * planes.nbytes + sum(self._apart_bytes(cut, planes))

    def _planes(self, cut: _Cut) -> Planes:
        return _planes(self.c, cut.rows, cut.flat, self.itemsize)

    def _shape(self) -> _Shape:
        """The block and the tile that take the least time."""
        c, room = self.c, machine().l1 * 3 // 4
        tiles = dot_tiles(c.filters, c.steps)
        found = []
        for cut in self._cuts():
            planes = self._planes(cut)
            held = cut.images * planes.nbytes
            blocks = -(-c.N // cut.images) * -(-c.rows.outputs // cut.rows)
            steps = cut.stretches * -(-cut.length // self.vector)
            line = cut.stretches * cut.length * self.itemsize
            pixels, gradient = self._apart_bytes(cut, planes)
            apart = (cut.images * pixels + gradient) // c.groups
            packed = (_PACK * held + _APART * apart) // (self.vector * self.itemsize)
            for mr, nt, step in tiles:
                # Of planes and rows of dy together what is too much is read again by every tile.
                beyond = max(0, held + mr * line - room) // ALIGN
                waited = _LINE * min(beyond, steps * (mr + nt))
                calls = -(-c.filters // mr) * -(-c.steps // nt)
                time = calls * (steps * step + _ROW * cut.stretches + _START + waited)
                found.append(_Shape(blocks * (time + packed), cut, mr, nt))
        return min(found)

    @made_once
    def multiply(self) -> Stage:
        """The sums of products, in copies; compiled when first asked for."""
        c, planes = self.c, self.planes
        fetched = -(-self.mr // self.tap_tiles)
        return Stage(
            planar_weight_kernel(self.itemsize),
            self.workers,
            **tile_tap_dots(self.itemsize, self.mr, self.nt, fetched),
            fetched=fetched,
            fetches=-(-self.mr // fetched),
            **sum_tasks(self.workers, self.copies, self.parts, c.groups, self.blocks),
            scratch_bytes=self.worker_bytes,
            N=c.N,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_n=self.cut.images,
            task_i=self.cut.rows,
            tasks_i=self.tasks_i,
            flat=self.cut.flat,
            row_bytes=planes.step_bytes[0],
            sets=self.units.sets,
            filters=c.filters,
            row_advance=c.rows.advance,
            row_phases=planes.phases[0],
            column_phases=planes.phases[1],
            plane_rows=planes.shape[0],
            plane_columns=planes.shape[1],
            planes_bytes=self.planes_bytes,
            window_rows=window_rows(c, planes),
            x_plane=self.x_plane,
            pixels=self.pixels,
            gradient=self.gradient,
            taps=self.taps,
            tap_tiles=self.tap_tiles,
            copy_bytes=self.copy_bytes,
            unit_bytes=self.unit_bytes,
            tile_bytes=self.tile_bytes,
        )

    @made_once
    def add(self) -> Stage:
        """Adding up the copies and writing dw."""
        c = self.c
        return Stage(
            planar_add_kernel(self.itemsize),
            workers_for(0, c.groups, self.threads, 2 * self.copies * self.copy_bytes),
            tasks=c.groups,
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            unit_bytes=self.unit_bytes,
            tile_bytes=self.tile_bytes,
            mr=self.mr,
            nt=self.nt,
            tap_tiles=self.tap_tiles,
            filters=c.filters,
            n_taps=c.steps,
        )

    @property
    def flops(self) -> int:
        """Executed, vectors and tiles filled up with zeros."""
        c, cut = self.c, self.cut
        pixels = c.pixels * round_up(cut.length, self.vector) // cut.length
        sums = c.groups * self.tiles * self.mr * self.tap_tiles * self.nt
        return 2 * pixels * sums

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the sums: written once, read once."""
        return 2 * self.copies * self.copy_bytes

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> array:
        _, _, yh, yw = dy.strides
        whole = not self.cut.flat or yh == self.c.columns.outputs * self.itemsize
        if not self.apart[1] and (yw != self.itemsize or not whole):
            dy = np.ascontiguousarray(dy)
        return super().run(x, dy, dw)

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        at, sums = operands(), SCRATCH
        (xn, xc, xh, xw), (yn, yk, yh, yw) = x_strides, dy_strides
        there = dict(x=at.first, xn=xn, xh=xh, x_pixel=xw, dy_n=yn, dy_h=yh, dy_pixel=yw)
        there |= dict(separate=0, separate_dy=0)
        c, (x_apart, dy_apart) = self.c, self.apart
        if x_apart:  # a task reads what it has made planes of
            there["separate"] = separating(self.itemsize, c.groups * c.channels, xw)
            xn, xc, xh, xw = 0, self.x_plane, c.columns.inputs * self.itemsize, self.itemsize
        if dy_apart:
            there["separate_dy"] = separating(self.itemsize, c.groups * c.filters, yw)
            yk, yh = self.dy_plane, c.columns.outputs * self.itemsize
            yn = c.groups * c.filters * yk
        multiplying = self.multiply.call(
            scratch=sums + aligned(self.copies * self.copy_bytes),
            sums=sums,
            x_window=window_of(self.x_window, at.first, (xn, xc, xc * self.units.sets, xh, xw)),
            **there,
            dy=at.second,
            yn=yn,
            yg=yk * c.filters,
            yk=yk,
            yh=yh,
        )
        return Program([multiplying, self.add.call(sums=sums, dw=at.out, dk=dw_strides[0])])
