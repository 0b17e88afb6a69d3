"""The passes by which numba compiles kernels: fewer than usual, and so in less time."""

from __future__ import annotations

from numba.core import codegen, compiler
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes

# They look for what no kernel holds: closures, helpers inlined before LLVM, array expressions.
_NEEDLESS = (InlineClosureLikes, InlineOverloads, NopythonRewrites)
# Of LLVM: kernels come with their vectors, and what more levels find is no faster.
_LEVEL = 1


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
    """numba's usual passes less the needless ones."""

    lowering = KernelLowering

    def define_pipelines(self):
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (self.lowering if kind is NativeLowering else kind, text)
            for kind, text in manager.passes
            if kind not in _NEEDLESS
        ]
        manager.finalize()
        return [manager]
