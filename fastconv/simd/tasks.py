"""How the workers of a kernel share out its tasks: each begins with a stretch of its own.

So neighbouring tasks, which share cache lines and what was packed, are one worker's; and a worker
meets the same part of an array in every kernel, which the cache of its core may still hold.
Whoever has done its own takes tasks from the end of another's, since cores are not equally fast.

What ``counter`` points to (:mod:`fastconv.core.stage`): the number of workers, then a word for each
that says how many tasks were taken from the beginning of its stretch (low half) and from its end.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from fastconv.core.jit import inner

from .copying import get_word
from .vector import I64

_WORD = 8
_FROM_END = 1 << 32
_LOW = _FROM_END - 1


@intrinsic
def _add(typingctx, address, value):
    """Atomically add to a word, and return what it was."""

    def codegen(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], I64.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "monotonic")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _look(typingctx, address):
    """A word that others may be adding to."""

    def codegen(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], I64.as_pointer())
        return builder.load_atomic(pointer, "monotonic", _WORD)

    return types.int64(types.int64), codegen


@inner
def next_task(counter, worker, tasks):
    """A task that nobody has taken before; ``tasks`` if there is none left."""
    workers = get_word(counter)
    for distance in range(workers):
        owner = (worker + distance) % workers
        first, end = owner * tasks // workers, (owner + 1) * tasks // workers
        at = counter + (1 + owner) * _WORD
        taken = _look(at)  # before adding to it, which takes the cache line from others
        if (taken & _LOW) + (taken >> 32) < end - first:
            taken = _add(at, 1 if distance == 0 else _FROM_END)
            begun, ended = taken & _LOW, taken >> 32
            if begun + ended < end - first:
                return first + begun if distance == 0 else end - 1 - ended
    return tasks
