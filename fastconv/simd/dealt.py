"""What vectors of filters of several groups meet: of every group an element of its own.

The groups' filters have equal shares of the lanes, one after the other (what is left of the lanes
is of no account), and their channels stand side by side in a pixel.  Where a vector holds a pixel,
and the machine permutes by index, it is loaded once for each channel and dealt by an instruction;
else elements are broadcast and blended.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv.core.machine import machine

from .vector import I32, I64, Vectors

# LLVM's names of instructions that permute all lanes, by instruction set and element size.
_PERMUTING = {
    ("avx512", 4): "llvm.x86.avx512.permvar.sf.512",
    ("avx512", 8): "llvm.x86.avx512.permvar.df.512",
    ("avx2", 4): "llvm.x86.avx2.permps",
}


class Dealt:
    """The elements of pixels that the ``channels`` of some ``groups`` have, channel by channel."""

    def __init__(self, v: Vectors, channels: int, groups: int, share: int):
        self.v, self.channels, self.groups, self.share = v, channels, groups, share
        self._permuting = None
        if groups > 1 and groups * channels <= v.lanes:
            self._permuting = _PERMUTING.get((machine().isa.name, v.itemsize))
        self._index = ir.VectorType(I32 if v.itemsize == 4 else I64, v.lanes)

    def _places(self, value: int) -> ir.Constant:
        return ir.Constant(self._index, [value] * self.v.lanes)

    def first(self, pixels):
        """A cursor at the first channel of ``pixels``, the address of the first of them."""
        if self._permuting is None:
            return pixels
        last = self.groups - 1
        owners = [min(lane // self.share, last) for lane in range(self.v.lanes)]
        places = [owner * self.channels for owner in owners]
        return ir.Constant(self._index, places)

    def next(self, cursor):
        """The same at the next channel."""
        if self._permuting is None:
            return self.v.offset(cursor, self.v.itemsize)
        return self.v.builder.add(cursor, self._places(1))

    def take(self, pixels, cursor, nbytes: int):
        """The channel's elements of the pixel that is so many bytes behind the first."""
        v = self.v
        if self._permuting is None:
            group = self.channels * v.itemsize
            elements = [v.offset(cursor, nbytes + g * group) for g in range(self.groups)]
            return v.deal(elements, self.share)
        return v.permute(self._permuting, v.load(v.offset(pixels, nbytes)), cursor)
