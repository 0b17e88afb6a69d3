"""The passes by which numba compiles kernels: fewer than usual, and so in less time."""

from __future__ import annotations

from numba.core import compiler
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes

# They look for what no kernel holds: closures, helpers inlined before LLVM, array expressions.
_NEEDLESS = (InlineClosureLikes, InlineOverloads, NopythonRewrites)


class KernelPipeline(compiler.CompilerBase):
    """numba's usual passes less the needless ones."""

    lowering = NativeLowering

    def define_pipelines(self):
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (self.lowering if kind is NativeLowering else kind, text)
            for kind, text in manager.passes
            if kind not in _NEEDLESS
        ]
        manager.finalize()
        return [manager]
