"""Functions whose body is emitted as explicit vector code."""

from __future__ import annotations

from collections.abc import Callable

from numba.core import cgutils, types
from numba.extending import intrinsic

from .vector import Vectors, literal


def emitted(kinds: dict[str, Callable]):
    """The intrinsic ``emit(like, which, *words)``, the body of the function that is compiled.

    ``which`` is a kind and its sizes (:func:`named`): that of ``kinds`` is called with the
    vocabulary of ``like``, the sizes, and the values of ``words``.
    """

    @intrinsic(prefer_literal=True)
    def emit(typingctx, like, which, *words):
        def codegen(context, builder, signature, arguments):
            kind, *sizes = literal(signature.args[1]).split()
            values = cgutils.unpack_tuple(builder, arguments[2])
            kinds[kind](Vectors(builder, signature.args[0]), tuple(map(int, sizes)), *values)
            return context.get_dummy_value()

        words = types.StarArgUniTuple(types.int64, len(words))
        return types.void(like, which, words), codegen

    return emit


def named(kind: str, *sizes: int) -> str:
    """The text that tells an intrinsic of :func:`emitted` the kind and the sizes."""
    return " ".join([kind, *map(str, map(int, sizes))])
