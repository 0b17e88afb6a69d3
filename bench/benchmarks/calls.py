"""Convolutions as calls without arguments: by the public functions, or by another library."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import numpy as np

import fastconv as fc
from fastconv.conv._peers import PEERS, installed
from fastconv.core.machine import cpu_count
from fastconv.core.problem import ConvProblem


@contextlib.contextmanager
def conditions(algorithm: str, workers: int) -> Iterator[None]:
    """``workers`` threads, and any error allowed to an algorithm that is asked for by name.

    Raises ``ValueError`` if there is no such library, or not so many threads.
    """
    if workers > cpu_count():
        raise ValueError(f"{workers} threads on {cpu_count()} processors")
    if algorithm in PEERS and not installed(algorithm):
        raise ValueError(f"{algorithm} is not installed")
    accuracy = None if algorithm == "auto" else "fast"
    with contextlib.ExitStack() as stack:
        stack.enter_context(fc.options(num_threads=workers, accuracy=accuracy))
        if algorithm in PEERS:
            stack.enter_context(PEERS[algorithm].threads(workers))
        yield


@functools.cache
def prepare(problem: ConvProblem, algorithm: str) -> Callable[[], np.ndarray]:
    """A call that has run once, so that its kernels are compiled and its choice is made.

    Raises ``ValueError`` if the algorithm cannot run the problem.
    """
    operands = _operands(problem)
    if algorithm in PEERS:
        call = PEERS[algorithm].prepare(problem, *operands)
    else:
        call = functools.partial(_public(problem, *operands), algorithm=algorithm)
    call()
    return call


def _public(problem: ConvProblem, first: np.ndarray, second: np.ndarray) -> functools.partial:
    """The function that a program would call."""
    settings = (problem.stride, problem.padding[::2], problem.dilation, problem.groups)
    if problem.direction == "forward":
        return functools.partial(fc.conv2d, first, second, None, *settings)
    if problem.direction == "backward_input":
        return functools.partial(fc.grad.conv2d_input, problem.x_shape, second, first, *settings)
    return functools.partial(fc.grad.conv2d_weight, first, problem.w_shape, second, *settings)


def _operands(problem: ConvProblem) -> list[np.ndarray]:
    """What the pass reads: x and w, dy and w, or x and dy."""
    x, w, y = problem.x_shape, problem.w_shape, problem.y_shape
    shapes = {"forward": (x, w), "backward_input": (y, w), "backward_weight": (x, y)}
    random = np.random.default_rng(0)
    return [random.standard_normal(shape, np.float32) for shape in shapes[problem.direction]]
