"""A stage: one kernel with the arguments a plan has settled; a call settles the others."""

from __future__ import annotations

import numpy as np

from . import profile, threads
from .jit import Kernel
from .linking import WORD
from .program import PROFILE, Address, Call, Words


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
        self._words = Words([0] * len(kernel.words) + [workers] + [0] * workers)
        for name, value in constants.items():
            self._words.put(self._index[name], value)

    def call(self, **arguments: int | np.ndarray | Words | Address) -> Call:
        """A call of a program, with the constants and these arguments."""
        words, index = self._words.copy(), self._index
        for name, value in arguments.items():
            words.put(index[name], value)
        if "counter" in index:
            words.put(index["counter"], Address(words, WORD * len(index)))
        if "profile" in index:
            words.put(index["profile"], PROFILE)
        return Call(self.kernel, words, self.workers)

    def run(self, **arguments: int) -> None:
        """Run it once, with the constants and these arguments."""
        words = self._words.numbers[:]  # of its own, so that threads may run one stage at once
        start, _ = words.buffer_info()
        index = self._index
        for name, value in arguments.items():
            words[index[name]] = value
        if "counter" in index:
            words[index["counter"]] = start + WORD * len(index)
        if "profile" in index:
            words[index["profile"]] = profile.target.get()
        threads.launch(self.kernel, start, self.workers)
