"""Convolutions as calls without arguments: by the public functions, or by another library."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import numpy as np

import fastconv as fc
from fastconv.comparison.calls import public_call
from fastconv.conv._peers import PEERS, installed
from fastconv.conv.measuring import random_operands
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
    operands = random_operands(problem)
    if algorithm in PEERS:
        call = PEERS[algorithm].prepare(problem, *operands)
    else:
        call = functools.partial(public_call(problem, *operands), algorithm=algorithm)
    call()
    return call
