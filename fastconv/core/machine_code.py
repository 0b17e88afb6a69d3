"""LLVM's part of compiling: from intermediate code to machine code, and where that lies in memory.

A module has a context of its own, so several threads may be at it, each with another module; and
Python's own lock is free meanwhile, for numba to lower the next kernel.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterable

from llvmlite import binding
from llvmlite.binding import ffi
from numba.core import registry

from .locks import Lock

_LEVEL = 1  # kernels come with their vectors, and what more levels find is no faster
_EMITTING = 3  # of instruction selection and register allocation

_loading = Lock()


def _at_once(function: Callable) -> Callable:
    """A function of LLVM's without llvmlite's lock, which lets one thread in at a time.

    That lock is for modules of one context.  LLVM itself asks for no more than a context for each
    thread: https://llvm.org/docs/ProgrammersManual.html#threading
    """
    return getattr(function, "_cfn", function)


@functools.cache
def target() -> tuple[str, str, str]:
    """Whom machine code is for: LLVM's triple, the processor and its features.

    numba's own words: a user may have named another processor to it.
    """
    return registry.cpu_target.target_context.codegen().magic_tuple()


def _machine() -> binding.TargetMachine:
    triple, processor, features = target()
    return binding.Target.from_triple(triple).create_target_machine(
        cpu=processor,
        features=features,
        opt=_EMITTING,
        reloc="static" if triple.startswith("x86_64") else "default",
        codemodel="jitdefault",
        jit=True,
    )


@functools.cache
def _engine() -> binding.ExecutionEngine:
    """What loads machine code, and keeps it as long as the process lives."""
    return binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())


def link(texts: Iterable[str]) -> binding.ModuleRef:
    """One module of several: a function and what it calls."""
    context = binding.create_context()
    first, *others = (binding.parse_assembly(text, context) for text in texts)
    for other in others:
        first.link_in(other)
    return first


def optimise(module: binding.ModuleRef, name: str) -> None:
    """Optimise a module whose function ``name`` alone is to be seen from outside."""
    tuning = binding.create_pipeline_tuning_options(speed_level=_LEVEL)
    builder = binding.create_pass_builder(_machine(), tuning)
    passes = builder.getModulePassManager()
    _at_once(ffi.lib.LLVMPY_RunNewModulePassManager)(passes, module, builder)
    module.verify()
    for function in module.functions:
        if not function.is_declaration and function.name != name:
            function.linkage = "internal"


def emit(module: binding.ModuleRef, assembly: bool = False) -> bytes:
    """The object file of a module, or its text in assembly language."""
    with ffi.OutputString() as error:
        run = _at_once(ffi.lib.LLVMPY_TargetMachineEmitToMemory)
        memory = run(_machine(), module, int(not assembly), error)
        if not memory:
            raise RuntimeError(str(error))
    try:
        size = ffi.lib.LLVMPY_GetBufferSize(memory)
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(memory), size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


def load(code: bytes, name: str) -> int:
    """The address of the function ``name`` of an object file, loaded for good."""
    with _loading:
        engine = _engine()
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return engine.get_function_address(name)
