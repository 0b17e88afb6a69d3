"""A stage: one kernel with the arguments a plan has settled; a call fills in the addresses."""

from __future__ import annotations

import numpy as np

from . import threads
from .address import address
from .jit import Kernel

__all__ = ["Stage", "address"]


class Stage:
    """``kernel`` with ``constants`` for its arguments, to be run by ``workers`` at once.

    The argument ``counter`` is the address of a task counter that starts at 0 in every run.
    """

    def __init__(self, kernel: Kernel, workers: int, **constants: int):
        self.kernel = kernel
        self.workers = workers
        self._index = {name: i for i, name in enumerate(kernel.layout.names)}
        self._template = np.zeros(kernel.size + 1, np.int64)  # the last word is the counter
        for name, value in constants.items():
            self._template[self._index[name]] = value

    def run(self, **arguments: int) -> None:
        args = self._template.copy()  # of its own, so that threads may run one plan at once
        pointer = address(args)
        index = self._index
        for name, value in arguments.items():
            args[index[name]] = value
        if "counter" in index:
            args[index["counter"]] = pointer + 8 * self.kernel.size
        threads.launch(self.kernel, pointer, self.workers)
