"""The last stage of a bilinear weight gradient: copies of the sums are added and mapped to dw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for

from .weight_sum_kernel import bilinear_sum_kernel

if TYPE_CHECKING:
    from .line_weight import BilinearLineWeight
    from .weight import BilinearWeight

SUM_BLOCKS = (64, 16)  # channels of a task: many, for memory; or a few


def sum_stage(plan: BilinearWeight | BilinearLineWeight) -> Stage:
    """That of a weight gradient."""
    c = plan.c
    many, few = SUM_BLOCKS
    block = many if plan.units * c.channels >= 4 * plan.threads * many else few
    n_blocks = -(-c.channels // block)
    tasks = plan.units * n_blocks
    return Stage(
        bilinear_sum_kernel(plan.itemsize),
        workers_for(2 * plan.copies * plan.copy_bytes, tasks, plan.threads),
        tasks=tasks,
        scratch_bytes=plan.taps.room_bytes,
        copy_bytes=plan.copy_bytes,
        copies=plan.copies,
        u_component=plan.u_component,
        u_unit=plan.u_unit,
        block=block,
        n_blocks=n_blocks,
        tiles_k=plan.tiles_k,
        **plan.taps.constants(),
    )
