"""A stage: one kernel with the arguments a plan has settled; a call fills in the addresses."""

from __future__ import annotations

import copy
from array import array
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import numpy as np

from . import profile, threads
from .address import address
from .jit import Kernel
from .once import once

__all__ = ["Stage", "address"]


class Call(NamedTuple):
    """A stage and the record of one run, to be started later."""

    stage: Stage
    record: array

    def run(self) -> None:
        stage, record = self
        threads.launch(stage.kernel, record.buffer_info()[0], stage.workers)


class Stage:
    """``kernel`` with ``constants`` for its arguments, to be run by ``workers`` at once.

    A constant that is an array is handed on as its address, and lives as long as the stage.
    The argument ``counter`` is the address of the number of workers and of a word for each of them
    to count its tasks in, 0 at first; ``profile`` is that of :mod:`.profile`.
    """

    def __init__(self, kernel: Kernel, workers: int, **constants: int | np.ndarray):
        self.kernel = kernel
        self.workers = workers
        self._index = {name: i for i, name in enumerate(kernel.words)}
        # An array of the standard library: NumPy's take twice as long to set an element.
        self._template = array("q", bytes(8 * (len(kernel.words) + 1 + workers)))
        self._template[len(kernel.words)] = workers
        self._counts = "counter" in self._index
        self._noted = "profile" in self._index
        self._tables: list[np.ndarray] = []
        self._settled: dict[Hashable, Stage] = {}
        self._settle(constants)

    def _settle(self, constants: Mapping[str, int | np.ndarray]) -> None:
        for name, value in constants.items():
            if isinstance(value, np.ndarray):
                self._tables.append(value)
                value = address(value)
            self._template[self._index[name]] = value

    def settled(self, key: Hashable, more: Callable[[], Mapping[str, int | np.ndarray]]) -> Stage:
        """The same with ``more`` constants, which hold for every call with this ``key``.

        A call takes as long as it has arguments: what its arrays' strides say is settled once.
        """

        def make() -> Stage:
            stage = copy.copy(self)
            stage._template, stage._tables = self._template[:], self._tables[:]
            stage._settled = {}
            stage._settle(more())
            return stage

        return once(self._settled, key, make)

    def run(self, **arguments: int) -> None:
        self.call(**arguments).run()

    def place(self, name: str) -> int:
        """Which word of the record an argument is."""
        return self._index[name]

    def call(self, **arguments: int) -> Call:
        """A run with the constants and these arguments."""
        args = self._template[:]  # of its own, so that threads may run one plan at once
        pointer, _ = args.buffer_info()
        index = self._index
        for name, value in arguments.items():
            args[index[name]] = value
        if self._counts:
            args[index["counter"]] = pointer + 8 * len(self.kernel.words)
        if self._noted:
            args[index["profile"]] = profile.target.get()
        return Call(self, args)
