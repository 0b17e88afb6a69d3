"""Programs: the launches of a call, settled but for where its operands are.

A plan writes one for arrays with certain strides.  Whatever takes a while to work out is done then,
and every call links it: copies the words, and fills in the addresses.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from . import profile, threads
from .address import address
from .jit import Kernel
from .linking import LAUNCH, LINK, WORD, runner
from .once import once
from .workspace import Scratch

_MOST = 64  # programs of a plan


class Words:
    """64-bit words that a kernel reads, some of them addresses that only a call knows."""

    def __init__(self, numbers: Iterable[int]):
        self.numbers = array("q", numbers)
        self.addresses: dict[int, Address] = {}
        self.memory: list[np.ndarray] = []  # which words point to

    def copy(self) -> Words:
        words = Words(self.numbers)
        words.addresses, words.memory = dict(self.addresses), list(self.memory)
        return words

    def put(self, index: int, value: int | np.ndarray | Words | Address) -> None:
        """Set a word: to a number, or to where something is."""
        if isinstance(value, Words):
            value = Address(value)
        if isinstance(value, Address):
            self.addresses[index] = value
            return
        if isinstance(value, np.ndarray):
            self.memory.append(value)
            value = address(value)
        self.addresses.pop(index, None)
        self.numbers[index] = value


@dataclass(frozen=True, slots=True)
class Address:
    """So many bytes behind one of the bases that a call has, or behind some words."""

    base: int | Words
    offset: int = 0

    def __add__(self, nbytes: int) -> Address:
        return Address(self.base, self.offset + nbytes)


class Operands(NamedTuple):
    """The arrays of a call, or of one of its parts.  Filters may be packed already."""

    first: Address
    second: Address
    out: Address
    bias: Address


_BASES = 3  # of all parts; the first is where a call's words begin
_, SCRATCH, PROFILE = map(Address, range(_BASES))


def operands(part: int = 0) -> Operands:
    """Those of a part: four bases more for each of them."""
    count = len(Operands._fields)
    return Operands(*(Address(_BASES + part * count + i) for i in range(count)))


class Call(NamedTuple):
    """One launch: a kernel, what it is handed, and how many workers run it."""

    kernel: Kernel
    words: Words
    workers: int


class Program:
    """Calls that run one after the other; they may set ``flags``, which are 0 before."""

    def __init__(self, calls: Sequence[Call], flags: Words | None = None):
        self._words = array("q")  # all that kernels are handed, one after the other
        self._links = array("q")  # records of :data:`.linking.LINK`
        self._memory: list[np.ndarray] = []
        begins: dict[Words, int] = {}
        self._flags = slice(0, len(flags.numbers) if flags else 0)
        if flags is not None:
            self._lay_out(flags, begins)
        for call in calls:
            self._lay_out(call.words, begins)
        launches = [(c.kernel, WORD * begins[c.words], c.workers) for c in calls]
        alone = list(takewhile(lambda launch: launch[2] == 1, launches))
        self._first = array("q", [n for kernel, *rest in alone for n in (kernel.address, *rest)])
        self._others = launches[len(alone) :]
        self._runner = runner()
        self._tables = (*_table(self._links, LINK), *_table(self._first, LAUNCH))
        self._bases = 1 + max(self._links[1::3], default=0)

    def _lay_out(self, words: Words, begins: dict[Words, int]) -> None:
        """Find a place for words, and for those that they point to."""
        if words in begins:
            return
        begin = begins[words] = len(self._words)
        self._words.extend(words.numbers)
        self._memory += words.memory
        for index, a in words.addresses.items():
            base, offset = a.base, a.offset
            if isinstance(base, Words):
                self._lay_out(base, begins)
                base, offset = 0, WORD * begins[base] + offset
            self._links.extend((WORD * (begin + index), base, offset))

    def run(self, scratch: int, *arrays: np.ndarray | int | None) -> array:
        """Run all calls on arrays, or addresses, in the order of :class:`Operands`; the flags."""
        words = self._words[:]  # of its own, so that threads may run one program at once
        start, _ = words.buffer_info()
        bases = array("q", (start, scratch, profile.target.get()))
        bases.extend([address(a) if type(a) is np.ndarray else a or 0 for a in arrays])
        assert len(bases) >= self._bases, "a call has all arrays that its program names"
        self._runner(bases.buffer_info()[0], *self._tables)
        for kernel, at, workers in self._others:
            threads.launch(kernel, start + at, workers)
        return words[self._flags]


def _table(numbers: array, layout: np.dtype) -> tuple[int, int]:
    """Where a table of such records is, and how many there are."""
    begin, count = numbers.buffer_info()
    return begin, WORD * count // layout.itemsize


class Programs:
    """The programs of a plan, each made when it is first needed, and the scratch they run in."""

    def __init__(self, nbytes: int):
        self.nbytes = nbytes
        self._made: dict[Hashable, Program] = {}

    def run(self, key: Hashable, make: Callable[[], Program], *arrays) -> array:
        """Run the one with this ``key`` on some arrays (see :meth:`Program.run`); its flags."""
        program = self._made.get(key)
        if program is None:
            if len(self._made) >= _MOST:
                self._made.clear()  # those that run meanwhile live on in their calls
            program = once(self._made, key, make)
        with Scratch(self.nbytes) as scratch:
            return program.run(scratch, *arrays)
