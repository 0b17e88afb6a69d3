"""Functions that Python calls, through numba's own wrappers: the launchers of kernels."""

from __future__ import annotations

import numba
from numba.core import caching

from . import cache, garbage, jit


class _Locator(caching._CacheLocator):
    """Tells numba to keep a function's machine code in our own directory."""

    def __init__(self, py_func):
        self._module = py_func.__module__
        # Under these names numba says what it cannot keep.
        self._py_file = py_func.__code__.co_filename
        self._lineno = py_func.__code__.co_firstlineno

    def get_cache_path(self):
        return cache.cache_directory()

    def get_source_stamp(self):
        return cache.source_digest()

    def get_disambiguator(self):
        # Files of different folders have the same names, and numba takes no more of a path.
        return f"{self._module}-{self._lineno}"

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Cache(caching.FunctionCache):
    """numba's cache of one function, with our own files."""

    _impl_class = _Implementation

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = cache.Files(self._cache_path, self._impl.filename_base)


def compile_cached(function, signature, **options):
    """``njit`` with one explicit signature, kept by :mod:`.cache`."""
    with jit.noted(), garbage.kept():
        dispatcher = numba.njit(**jit.FLAGS, **options)(function)
        if cache.cache_directory() is not None:
            dispatcher._cache = _Cache(function)
        dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher
