"""The passes by which numba compiles kernels: fewer than usual, and so in less time."""

from __future__ import annotations

import operator

from numba.core import codegen, compiler, types, typing
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes

# They look for what no kernel holds: closures, helpers inlined before LLVM, array expressions.
_NEEDLESS = (InlineClosureLikes, InlineOverloads, NopythonRewrites)
# Of LLVM: kernels come with their vectors, and what more levels find is no faster.
_LEVEL = 1
_OPERATORS = {function for name, function in vars(operator).items() if name[0] != "_"}
_ARITHMETIC = _OPERATORS | {min, max, range}
_signatures: dict[tuple, typing.Signature] = {}


class _Types(typing.Context):
    """numba's own context, which looks up arithmetic on integers once.

    numba goes through all that a ``+`` might mean, ufuncs too, for each one that is written: a
    tenth of the time in which kernels compile.
    """

    def __init__(self, context: typing.Context):
        self.__dict__ = context.__dict__  # not a copy: what is registered later, is seen

    def resolve_function_type(self, func, args, kws):
        arithmetic = isinstance(func, types.Function) and func.typing_key in _ARITHMETIC
        if not arithmetic or kws or not all(isinstance(kind, types.Integer) for kind in args):
            return super().resolve_function_type(func, args, kws)
        key = (func, args)  # the function is another once somebody has overloaded it
        if key not in _signatures:
            _signatures[key] = super().resolve_function_type(func, args, kws)
        return _signatures[key]


class KernelLibrary(codegen.JITCodeLibrary):
    """Intermediate code that LLVM optimises once, when all of it is linked."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        passes, builder = self._codegen._module_pass_manager(opt=_LEVEL)
        passes.run(self._final_module, builder)


@register_pass(mutates_CFG=True, analysis_only=False)
class KernelLowering(NativeLowering):
    """Lower a function into a library of that kind."""

    _name = "kernel_lowering"
    library = KernelLibrary

    def run_pass(self, state):
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


class KernelPipeline(compiler.CompilerBase):
    """numba's usual passes less the needless ones, and less to look up."""

    lowering = KernelLowering

    def __init__(self, typingctx, *others):
        super().__init__(_Types(typingctx), *others)

    def define_pipelines(self):
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (self.lowering if kind is NativeLowering else kind, text)
            for kind, text in manager.passes
            if kind not in _NEEDLESS
        ]
        manager.finalize()
        return [manager]
