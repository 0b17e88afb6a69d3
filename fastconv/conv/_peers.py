"""Other libraries that compute convolutions on NumPy arrays, for comparison.  None is needed."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fastconv.core.problem import ConvProblem

Run = Callable[[], np.ndarray]


class Peer(NamedTuple):
    """How to run a problem of this library, and with how many threads."""

    prepare: Callable[[ConvProblem, np.ndarray, np.ndarray], Run]  # the operands, without the out
    threads: Callable[[int], contextlib.AbstractContextManager]


def _torch(problem: ConvProblem, first: np.ndarray, second: np.ndarray) -> Run:
    import torch

    one, two = torch.from_numpy(first), torch.from_numpy(second)
    top, bottom, left, right = problem.padding
    if (top, left) != (bottom, right):
        raise ValueError(f"its padding is the same on both sides, here it is {problem.padding}")
    rest = (problem.stride, (top, left), problem.dilation)
    if problem.direction == "forward":
        conv2d = torch.nn.functional.conv2d
        return lambda: conv2d(one, two, None, *rest, problem.groups).numpy()
    backward = torch.ops.aten.convolution_backward
    rest = (None, *rest, False, (0, 0), problem.groups)
    if problem.direction == "backward_input":  # operands dy, w
        x = torch.empty(problem.x_shape, dtype=one.dtype)
        if problem.x_format == "nhwc":
            x = x.to(memory_format=torch.channels_last)
        return lambda: backward(one, x, two, *rest, (True, False, False))[0].numpy()
    w = torch.empty(problem.w_shape, dtype=one.dtype)  # operands x, dy
    return lambda: backward(two, one, w, *rest, (False, True, False))[1].numpy()


@contextlib.contextmanager
def _torch_threads(workers: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(workers)
    try:
        yield
    finally:
        torch.set_num_threads(before)


PEERS = {"torch": Peer(_torch, _torch_threads)}


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
