"""Dealing the channels of small groups to the lanes of their filters."""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from .vector import Vectors, i64, literal


def dealable(channels: int, filters: int, lanes: int) -> bool:
    """Whether a vector holds the filters of whole groups, whose channels fit two vectors."""
    return lanes % filters == 0 and channels <= 2 * filters


@intrinsic(prefer_literal=True)
def deal(typingctx, like, channels, filters, target, nbytes):
    """One set of vectors for each channel of a group, from the pixels that lie behind all sets.

    A pixel has the ``channels`` of all groups whose ``filters`` fill a vector.  In the vector of
    set c, lane k holds channel c of the group of filter k.  All sets together have ``nbytes``.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        inputs, outputs = literal(signature.args[1]), literal(signature.args[2])
        target, nbytes = arguments[3:]
        set_bytes = builder.sdiv(nbytes, i64(inputs))
        pixel = v.lanes // outputs * inputs
        picks = [[k // outputs * inputs + c for k in range(v.lanes)] for c in range(inputs)]

        def body(index, carried):
            source, target = carried
            low = v.load(source)
            high = v.load(source, 1) if pixel > v.lanes else low
            at = target
            for pick in picks:
                v.store(v.shuffle(low, high, pick), at)
                at = builder.add(at, set_bytes)
            return [v.offset(source, pixel * v.itemsize), v.offset(target, v.nbytes)]

        count = builder.sdiv(set_bytes, i64(v.nbytes))
        v.loop(count, [builder.add(target, nbytes), target], body)
        return context.get_dummy_value()

    return types.void(like, channels, filters, types.int64, types.int64), codegen
