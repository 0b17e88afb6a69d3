"""The two stages of a weight gradient: the kernels with what a plan has settled for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.plans.pixel_tasks import grid
from fastconv.plans.pixels import whole_reach
from fastconv.plans.sum_tasks import sum_tasks
from fastconv.plans.weight_gradient import NO_LIMIT
from fastconv.simd.tiles import tile_panel

from .weight_kernel import weight_kernel
from .weight_sum_kernel import weight_sum_kernel

if TYPE_CHECKING:
    from .weight import BlockedWeight


def _tile(plan: BlockedWeight) -> dict[str, int]:
    shape = (plan.itemsize, plan.mr, plan.nv, plan.stretches)
    return tile_panel(*shape, plan.sliding)


_ALL = np.array([[0, NO_LIMIT]])  # outputs that a tap reads


def _has_all_outputs(plan: BlockedWeight) -> bool:
    """Whether there is a single product, which reads all outputs."""
    axes = zip(plan.reach, (plan.c.rows, plan.c.columns), strict=True)
    return all(np.array_equal(reach, whole_reach(axis)) for reach, axis in axes)


def multiply_stage(plan: BlockedWeight) -> Stage:
    """Outer products, summed over blocks of pixels."""
    c = plan.c
    single = _has_all_outputs(plan)
    reach = (_ALL, _ALL) if single else plan.reach
    return Stage(
        weight_kernel(plan.itemsize),
        plan.workers,
        **_tile(plan),
        scratch_bytes=plan.worker_bytes,
        copy_bytes=plan.copy_bytes,
        sums_far=plan.copy_bytes // plan.parts > machine().l2 // 4,
        **sum_tasks(plan.workers, plan.copies, plan.parts, plan.units, plan.blocks),
        **grid(c, plan.share),
        window_bytes=plan.window_bytes,
        buffer_rows=plan.rows.extent,
        buffer_columns=plan.columns.extent,
        row_stride=c.rows.advance,
        column_stride=c.columns.advance,
        row_advance=plan.rows.advance,
        column_advance=plan.columns.advance,
        terms=plan.terms,
        n_terms=len(plan.terms),
        term_length=plan.term_length,
        columns_bytes=plan.columns_bytes,
        pixel_step=plan.pixel_step,
        products_down=plan.products[0],
        products_across=plan.products[1],
        row_spread=plan.rows.spread,
        column_spread=plan.columns.spread,
        row_reach=reach[0],
        column_reach=reach[1],
        single=single,
        tiles_m=plan.tiles_m,
        tiles_k=plan.tiles_k,
        n_blocks=plan.n_blocks,
        dy_last=plan.last * plan.itemsize if plan.overlaps else NO_LIMIT,
    )


def sum_stage(plan: BlockedWeight) -> Stage:
    """The copies of the sums, added and written to dw."""
    c = plan.c
    return Stage(
        weight_sum_kernel(plan.itemsize),
        workers_for(0, plan.units, plan.threads, 2 * plan.copies * plan.copy_bytes),
        tasks=plan.units,
        scratch_bytes=plan.sum_bytes,
        copy_bytes=plan.copy_bytes,
        copies=plan.copies,
        taps=c.rows.window * c.columns.window,
        joined=plan.joined,
        block_bytes=plan.block_bytes,
        tap_bytes=plan.tap_bytes,
        tile=plan.width,
        last=plan.last,
        tiles_k=plan.tiles_k,
        n_blocks=plan.n_blocks,
        block=plan.block,
        channels=c.channels,
        filters=c.filters,
    )
