"""Adding numbers up at given positions of planes: the gradient of max pooling."""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core import checks, threads
from fastconv.core.address import address
from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.simd.copying import add_element, get_word, put_word, zero
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element

from ._arrays import contiguous, empty

# Strides in elements, the same for dy and the positions.  A task is a block of channels of one
# image; its planes are its alone, so sums need no atomics and their order is fixed.
LAYOUT = record(
    "counter tasks blocks block channels dy positions dx invalid "
    "dyn dyc dxn dxc dx_pixel inputs outputs channels_last"
)
_INPUT_COST, _OUTPUT_COST = 20, 200  # in the floating-point operations of ``workers_for``
_TASKS = 2  # for each thread, when there are images and channels enough
_BLOCK_BYTES = 64  # channels-last blocks are whole cache lines: no two tasks write the same one


@functools.cache
def scatter_kernel(itemsize: int) -> Kernel:
    @kernel(LAYOUT)
    def scatter_add(worker, a):
        like = element(itemsize)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            n, first = task // a.blocks, task % a.blocks * a.block
            count = min(a.block, a.channels - first)
            start = n * a.dyn + first * a.dyc
            dy, positions = a.dy + start * itemsize, a.positions + start * 8
            dx = a.dx + (n * a.dxn + first * a.dxc) * itemsize
            inputs, pixel_step = a.inputs, a.dx_pixel * itemsize
            if a.channels_last and count < a.channels:
                for pixel in range(inputs):
                    zero(dx + pixel * pixel_step, count * itemsize)
            else:
                zero(dx, count * inputs * itemsize)
            # lists of consecutive elements, and how their planes stand
            outer, inner, dy_step, plane_step, element_step = count, a.outputs, a.dyc, a.dxc, 0
            if a.channels_last:
                outer, inner, dy_step, plane_step, element_step = a.outputs, count, a.channels, 0, 1
            for _ in range(outer):
                for i in range(inner):
                    pixel = get_word(positions + i * 8)
                    if 0 <= pixel < inputs:
                        target = dx + i * element_step * itemsize + pixel * pixel_step
                        add_element(like, target, dy + i * itemsize)
                    elif pixel != -1:
                        put_word(a.invalid, 1)
                dy += dy_step * itemsize
                positions += dy_step * 8
                dx += plane_step * itemsize

    return scatter_add


@functools.lru_cache(maxsize=1024)
def _stage(y_shape, x_shape, itemsize: int, order: str, threads: int) -> Stage:
    n, c, p, q = y_shape
    inputs, outputs = x_shape[2] * x_shape[3], p * q
    channels_last = order == "nhwc"
    block = min(c, -(-c * n // (_TASKS * threads)))
    if channels_last:
        line = _BLOCK_BYTES // itemsize
        block = -(-block // line) * line
    blocks = -(-c // block)
    work = n * c * (_INPUT_COST * inputs + _OUTPUT_COST * outputs)
    return Stage(
        scatter_kernel(itemsize),
        workers_for(work, n * blocks, threads),
        tasks=n * blocks,
        blocks=blocks,
        block=block,
        channels=c,
        dyn=c * outputs,
        dyc=1 if channels_last else outputs,
        dxn=c * inputs,
        dxc=1 if channels_last else inputs,
        dx_pixel=c if channels_last else 1,
        inputs=inputs,
        outputs=outputs,
        channels_last=int(channels_last),
    )


def scatter(dy: np.ndarray, indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """dx of ``shape`` with dx[n,c,indices[n,c,p,q]] += dy[n,c,p,q], planes counted flat.

    The index −1 adds nothing; ``ValueError`` for any other that is not in a plane.
    """
    dy, order = checks.dense(dy)
    dx = empty(shape, dy.dtype, order)
    if dx.size == 0:
        return dx
    dy, indices = contiguous(dy, order), contiguous(indices, order)
    invalid = np.zeros(1, np.int64)
    stage = _stage(dy.shape, dx.shape, dy.itemsize, order, threads.get_num_threads())
    stage.run(dy=address(dy), positions=address(indices), dx=address(dx), invalid=address(invalid))
    if invalid[0]:
        raise ValueError(
            f"indices must be −1 … {shape[2] * shape[3] - 1}, positions in planes of {shape}"
        )
    return dx
