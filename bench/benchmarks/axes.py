"""The axes: what the second parameter of a benchmark is, and the problem at each of its values.

Each starts from a layer of usual size and changes one thing.
"""

from __future__ import annotations

import abc
import hashlib

import fastconv as fc
from fastconv.core.problem import ConvProblem

# In the order of asv's page, which shows eight curves at most.
ALGORITHMS = ("auto", "direct", "im2col", "depthwise", "winograd", "fft", "strassen", "torch")


class Axis(abc.ABC):
    """The problems of one pass along one axis."""

    direction: str  # the pass
    params: tuple[tuple, tuple]  # the algorithms, and the values on the axis
    param_names: tuple[str, str]

    @abc.abstractmethod
    def problem(self, x: int) -> ConvProblem:
        """What is computed at ``x``."""

    def threads(self, x: int) -> int:
        """With how many threads: all that the environment allows."""
        return fc.get_num_threads()

    @property
    def version(self) -> str:
        """asv compares results of the same version only: here, of the same problems."""
        problems = [tuple(self.problem(x)) for x in self.params[1]]
        return hashlib.sha256(repr(problems).encode()).hexdigest()

    def _layer(self, N=2, C=32, size=28, taps=3, groups=1) -> ConvProblem:
        """As many filters as channels, and an output of the input's size."""
        padding = (taps // 2,) * 4
        return ConvProblem(
            N, C, size, size, C, taps, taps,
            padding=padding, groups=groups, direction=self.direction,
        )  # fmt: skip


class FilterSize(Axis):
    params = (ALGORITHMS, (1, 3, 5, 7, 9, 11, 15))
    param_names = ("algorithm", "filter size")

    def problem(self, x):
        return self._layer(taps=x)


class DepthwiseFilterSize(Axis):
    params = (ALGORITHMS, (3, 5, 7, 11, 15, 31))
    param_names = ("algorithm", "filter size")

    def problem(self, x):
        return self._layer(C=64, taps=x, groups=64)


class Channels(Axis):
    params = (ALGORITHMS, (4, 8, 16, 32, 64, 128, 256))
    param_names = ("algorithm", "channels")

    def problem(self, x):
        return self._layer(C=x)


class Image(Axis):
    params = (ALGORITHMS, (7, 14, 28, 56, 112, 224))
    param_names = ("algorithm", "image")

    def problem(self, x):
        return self._layer(size=x)


class Batch(Axis):
    params = (ALGORITHMS, (1, 2, 4, 8, 16, 32, 64))
    param_names = ("algorithm", "batch")

    def problem(self, x):
        return self._layer(N=x, size=14)


class Threads(Axis):
    params = (ALGORITHMS, (1, 2, 4, 8))
    param_names = ("algorithm", "threads")

    def problem(self, x):
        return self._layer(N=8, C=64, size=56)

    def threads(self, x):
        return x
