"""The one place that decides how kernels are compiled.

A *kernel* is a function ``kernel(worker, a)``: ``a`` is a record of 64-bit integers (addresses,
sizes, strides) that a plan fills in, passed by its address.  The address of the compiled function
is all that the launcher needs, so one parallel launcher serves every kernel (:mod:`.threads`), and
a kernel costs only its own serial compilation.

Caching rules (:mod:`.cache` keeps machine code by the function's byte code and closure): kernels
are made in factories that close over integers, strings and None only, never over functions, and the
names of intrinsics are module globals.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from . import cache, garbage, machine_code
from .linked import Linked
from .once import Joint, making
from .pipeline import lower

if numba.config.DISABLE_JIT:
    raise ImportError("fastconv's kernels need numba's compiler: unset NUMBA_DISABLE_JIT")

# nsz, reassoc and contract are safe with NaN and Inf; the full fast-math set is not.
FLAGS = {
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "arcp", "nsz", "afn"},
}
# Kernels own no memory, and are called from machine code only.
_BARE = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def inner(function):
    """Compile a helper that only kernels call.

    It knows the values of its parameters ``item`` and ``vector``; others are run-time integers.
    """
    return Linked(function, **FLAGS, **_BARE)


def record(fields: str, **parts: np.dtype) -> np.dtype:
    """The layout of a kernel's arguments: named 64-bit integers, in order, then records in it.

    What several kernels hand on to one function should be such a part, of one layout for all: the
    function is compiled for each type of its arguments.
    """
    layout = np.dtype([(name, np.int64) for name in fields.split()] + list(parts.items()))
    names = words(layout)
    assert len(set(names)) == len(names), "a plan gives each word by its name"
    return layout


def words(layout: np.dtype) -> list[str]:
    """The names of all 64-bit integers of a record, those of its parts among them."""
    names = []
    for name in layout.names:
        kind = layout[name]
        names += [name] if kind.names is None else words(kind)
    return names


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Compile or load something, and note from when to when."""
    with making:
        began = time.perf_counter()
        try:
            yield
        finally:
            spans.append((began, time.perf_counter()))


_addresses: Joint[int] = Joint()


class Function:
    """A compiled function: its name, and the address at which kernels :func:`call` it.

    It has none of numba's wrappers, for Python or for C: passing on a dozen arguments takes those
    longer than calling.
    """

    # Of one in ``kernels``; another Python thread's of the same code only has its address.
    from_cache: bool
    seconds: float  # of work, for this one alone

    def __init__(self, function, signature):
        self.name = function.__name__
        self._function, self._signature = function, signature
        with noted():
            began = time.thread_time()
            key = cache.identity(function, str(signature), machine_code.target())
            self._symbol = f"{self.name}_{cache.digest(key)}"  # no other function's in this process
            self.address = _addresses.value(key, lambda: self._made(key, began))

    def _made(self, key, began: float) -> int:
        """Compile, or load what this or another process compiled before."""
        files = cache.files_of(self._function)
        code = files.load(key)
        self.from_cache = code is not None
        if code is None:
            code = machine_code.emit(self._optimised())
            files.save(key, code)
        address = machine_code.load(code, self._symbol)
        self.seconds = time.thread_time() - began
        kernels.append(self)
        return address

    def _optimised(self):
        with garbage.kept():
            name, texts = lower(self._function, self._signature, **FLAGS, **_BARE)
            module = machine_code.link(texts)
            module.get_function(name).name = self._symbol
        machine_code.optimise(module, self._symbol)
        return module

    def inspect_asm(self) -> str:
        with making:
            return machine_code.emit(self._optimised(), assembly=True).decode()


class Kernel(Function):
    """``f(worker, a)`` with ``a`` a record of ``layout``: what a launch runs."""

    def __init__(self, function, layout: np.dtype):
        super().__init__(function, types.void(types.int64, numba.from_dtype(layout)))
        self.words = words(layout)


# For ``fastconv info`` and its kin: all compiled functions of this process, and when each was made,
# as seconds of ``perf_counter``; several threads may have been at it.
kernels: list[Function] = []
spans: list[tuple[float, float]] = []


def kernel(layout: np.dtype):
    """Decorate ``f(worker, a)`` into a :class:`Kernel`.

    Compiles at once, so decorate inside a cached factory that is called when a plan is made.
    """
    return functools.partial(Kernel, layout=layout)


def callee(function) -> Function:
    """Decorate a function of 64-bit integers into a :class:`Function` to call, likewise."""
    return Function(function, types.void(*[types.int64] * function.__code__.co_argcount))


@intrinsic
def record_at(typingctx, address, layout):
    """The record of that ``layout`` at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return layout.dtype(types.int64, layout), codegen


@intrinsic
def address_of(typingctx, record):
    """Where a record lies: the other way round."""

    def codegen(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], context.get_value_type(types.int64))

    return types.int64(record), codegen


@intrinsic
def call(typingctx, address, *words):
    """Call the :class:`Function` at ``address`` with these 64-bit integers."""

    def codegen(context, builder, signature, arguments):
        from llvmlite import ir

        # Before its arguments a function of numba's takes two pointers, to what it returns and to
        # an exception; those here return nothing and raise nothing.
        pointer = ir.IntType(8).as_pointer()
        unused = cgutils.alloca_once(builder, pointer)
        hidden = [pointer.as_pointer()] * 2
        kind = ir.FunctionType(ir.IntType(32), [*hidden, *[ir.IntType(64)] * len(words)])
        values = cgutils.unpack_tuple(builder, arguments[1])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [unused, unused, *values])
        return context.get_dummy_value()

    return types.void(types.int64, types.StarArgUniTuple(types.int64, len(words))), codegen
