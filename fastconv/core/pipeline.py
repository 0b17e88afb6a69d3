"""The passes by which numba lowers kernels to intermediate code: fewer than usual, and so faster.

Nothing here waits for LLVM, which may be at work on another kernel.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

from llvmlite import ir
from numba.core import cgutils, codegen, compiler, funcdesc, lowering, types, typing
from numba.core import typed_passes as typed
from numba.core import untyped_passes as untyped
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.ir import UNDEFINED
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from . import machine_code

# They look for what no kernel holds: contexts, closures, helpers inlined before LLVM, array
# expressions; or they prepare for reference counts, which kernels have none of.
_NEEDLESS = {
    untyped.WithLifting,
    untyped.InlineClosureLikes,
    untyped.RewriteDynamicRaises,
    untyped.MakeFunctionToJitFunction,
    untyped.InlineInlinables,
    untyped.FindLiterallyCalls,
    untyped.LiteralUnroll,
    untyped.LiteralPropagationSubPipelinePass,
    typed.InlineOverloads,
    typed.NopythonRewrites,
    typed.NoPythonSupportedFeatureValidation,
    typed.IRLegalization,
    typed.DumpParforDiagnostics,
}
_OPERATORS = {function for name, function in vars(operator).items() if name[0] != "_"}
_ARITHMETIC = _OPERATORS | {min, max, range}
_signatures: dict[tuple, typing.Signature] = {}


class _Types(typing.Context):
    """numba's own context, which looks up arithmetic on integers once, whatever their values.

    numba goes through all that a ``+`` might mean, ufuncs too, for each one that is written: a
    tenth of the time in which kernels compile.  And each ``min`` with another constant would be one
    more function.
    """

    def __init__(self, context: typing.Context):
        self.__dict__ = context.__dict__  # shared, not copied: what is registered later is seen

    def resolve_function_type(self, func, args, kws):
        arithmetic = isinstance(func, types.Function) and func.typing_key in _ARITHMETIC
        if not arithmetic or kws or not all(isinstance(kind, types.Integer) for kind in args):
            return super().resolve_function_type(func, args, kws)
        args = tuple(map(types.unliteral, args))
        key = (func, args)  # the function is another once somebody has overloaded it
        if key not in _signatures:
            _signatures[key] = super().resolve_function_type(func, args, kws)
        return _signatures[key]


class Library(codegen.CodeLibrary):
    """The intermediate code of a function, and the libraries of what it calls, as texts."""

    _finalized = True  # numba needs nothing more of it than that

    def __init__(self, owner, name: str, linkage: str):
        super().__init__(owner, name)
        self._linkage = linkage
        self._own: list[str] = []
        self._called: list[codegen.CodeLibrary] = []

    def create_ir_module(self, name):
        module = ir.Module(cgutils.normalize_ir_text(name))
        module.triple, _, _ = machine_code.target()
        module.data_layout = self._codegen._data_layout
        return module

    def add_ir_module(self, ir_module):
        for function in ir_module.functions:
            if not function.is_declaration and function.linkage == "":
                function.linkage = self._linkage
        self._own.append(cgutils.normalize_ir_text(str(ir_module)))

    def add_linking_library(self, library):
        if library is not rtsys.library:  # of reference counts, which kernels do without
            self._called.append(library)

    def texts(self) -> Iterator[str]:
        """All of it, each library once."""
        seen, waiting = set(), [self]
        while waiting:
            library = waiting.pop()
            if library in seen:
                continue
            seen.add(library)
            if isinstance(library, Library):
                waiting += library._called
                yield from library._own
            else:  # of numba's own functions, with all that they call
                yield str(library._get_module_for_linking())

    def finalize(self):
        raise NotImplementedError

    get_function = get_llvm_str = get_asm_str = finalize


class _Lower(lowering.Lower):
    """What numba asks for debuggers and exceptions is left out: kernels have neither."""

    def emit_environment_object(self):
        pass

    def lower_binop(self, resty, expr, op):
        # numba would look for a special way with each constant; it knows some for powers alone.
        expr.static_lhs = expr.static_rhs = UNDEFINED
        return super().lower_binop(resty, expr, op)

    def alloca_lltype(self, name, lltype, datamodel=None):
        return cgutils.alloca_once(self.builder, lltype, name=name)

    def storevar(self, value, name, argidx=None):
        super().storevar(value, name)


@register_pass(mutates_CFG=True, analysis_only=False)
class KernelLowering(LoweringPass):
    """Lower a function into a :class:`Library`, and leave it at that."""

    _name = "kernel_lowering"
    linkage = ""

    def __init__(self):
        LoweringPass.__init__(self)

    def run_pass(self, state):
        context, flags = state.targetctx, state.flags
        state.library = Library(context.codegen(), state.func_id.func_qualname, self.linkage)
        described = funcdesc.PythonFunctionDescriptor.from_specialized_function(
            state.func_ir,
            state.typemap,
            state.return_type,
            state.calltypes,
            mangler=context.mangler,
            inline=flags.forceinline,
            noalias=flags.noalias,
            abi_tags=[flags.get_mangle_string()],
        )
        with context.push_code_library(state.library):
            lower = _Lower(context, state.library, described, state.func_ir, state.metadata)
            lower.lower()
        state.cr = compiler._LowerResult(described, lower.call_helper, cfunc=None, env=lower.env)
        return True


class KernelPipeline(compiler.CompilerBase):
    """numba's usual passes less the needless ones, and less to look up."""

    lowering = KernelLowering

    def __init__(self, typingctx, *others):
        super().__init__(_Types(typingctx), *others)

    def define_pipelines(self):
        manager = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes = {kind: text for kind, text in manager.passes if kind not in _NEEDLESS}  # once each
        manager.passes = [
            (self.lowering if kind is typed.NativeLowering else kind, text)
            for kind, text in passes.items()
        ]
        manager.finalize()
        return [manager]


def lower(function, signature, **options) -> tuple[str, list[str]]:
    """The name that numba gives to a function; its intermediate code, and that of what it calls."""
    flags = compiler.Flags()
    cpu_target.options.parse_as_flags(flags, dict(nopython=True, **options))
    contexts = cpu_target.typing_context, cpu_target.target_context
    with global_compiler_lock:
        result = compiler.compile_extra(
            *contexts, function, signature.args, signature.return_type, flags, {},
            pipeline_class=KernelPipeline,
        )  # fmt: skip
        return result.fndesc.llvm_func_name, list(result.library.texts())
