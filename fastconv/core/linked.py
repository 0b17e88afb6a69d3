"""Functions that exist only inside the kernels that call them.

For each function numba makes a library of its own: optimised, translated to machine code, linked
into the libraries of its callers, and optimised there again.  What only kernels call needs none of
that but the linking; without the rest a kernel compiles in half the time.
"""

from __future__ import annotations

import inspect

from numba import _dynfunc
from numba.core import types
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher

from .pipeline import KernelLowering, KernelPipeline

# Parameters of these names stay integers that the compiler knows: the bytes of an element and the
# elements of a vector, which sizes are divided by all the time.
_CONSTANTS = ("item", "vector")


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(KernelLowering):
    """Lower a function that LLVM may drop once it is inlined; tell numba where callers find it."""

    _name = "linked_lowering"
    linkage = "linkonce_odr"

    def run_pass(self, state):
        super().run_pass(state)
        lowered, keep = state.cr, (state.library,)
        module, name = lowered.fndesc.lookup_module(), lowered.fndesc.qualname
        handle = _dynfunc.make_function(module, name, "", 0, lowered.env, keep)
        state.cr = lowered._replace(cfunc=handle)
        state.targetctx.insert_user_function(handle, lowered.fndesc, keep)
        return True


class _Pipeline(KernelPipeline):
    """The passes of a kernel but for the last."""

    lowering = _Lowering


class Linked(CPUDispatcher):
    """A function that kernels call, with its arguments in order; LLVM inlines it at will.

    It is compiled for each *type* of its arguments; numba would do so for every integer that a
    caller writes out, or begins a loop with.
    """

    def __init__(self, function, **options):
        options["nopython"] = True
        super().__init__(function, targetoptions=options, pipeline_class=_Pipeline)
        self._constant = [name in _CONSTANTS for name in inspect.signature(function).parameters]

    def get_call_template(self, args, kws):
        args = [
            kind if constant else types.unliteral(kind)
            for kind, constant in zip(args, self._constant, strict=True)
        ]
        return super().get_call_template(args, kws)
