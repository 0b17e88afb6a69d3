"""Where machine code is kept between processes: a file for each compiled function.

A change in another source file is not seen by numba, so the directory is named after a digest of
the kernel sources.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
import warnings
from pathlib import Path

import numba
from numba.core import caching
from numba.core.serialize import dumps

from . import files

SUFFIX = ".code"

_KERNEL_FOLDERS = ("core", "simd", "gemm", "transforms", "plans", "conv", "ops")


@functools.cache
def source_digest() -> str:
    """Digest of every source file that takes part in a kernel."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(numba.__version__.encode())
    for folder in _KERNEL_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_directory() -> str | None:
    """The directory of the compiled kernels, or None (with a warning) if none is writable.

    ``FASTCONV_CACHE_DIR`` overrides the user's cache directory.
    """
    import platformdirs

    base = os.environ.get("FASTCONV_CACHE_DIR") or platformdirs.user_cache_dir("fastconv", False)
    folder = os.path.join(base, f"kernels-{source_digest()}")
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        warnings.warn(
            f"fastconv cannot write its kernel cache {folder!r} ({error}); kernels are compiled "
            "anew in every process. Set FASTCONV_CACHE_DIR to a writable directory.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


class _Files:
    """The code of one function's variants: a file each, named after the digest of what it is.

    numba's own files are numbered, with an index: of two processes that compile different variants
    at once, both may take one number, and then run each other's code.
    """

    def __init__(self, folder: str, name: str):
        self._folder = Path(folder)
        self._name = name

    def load(self, key):
        """What was saved as ``key``; None if nothing was, or if its file is damaged."""
        try:
            saved, data = pickle.loads(self._path(key).read_bytes())
            return data if saved == key else None
        except Exception:  # whatever a damaged file makes of unpickling
            return None

    def save(self, key, data) -> None:
        """Keep ``data``; where nothing can be written, it is compiled again next time."""
        with contextlib.suppress(OSError):
            files.replace(self._path(key), dumps((key, data)))

    def _path(self, key) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self._folder / f"{self._name}-{digest[:24]}{SUFFIX}"


class _Locator(caching._CacheLocator):
    """Tells numba to keep a function's machine code in :func:`cache_directory`."""

    def __init__(self, py_func):
        self._module = py_func.__module__
        # Under these names numba says what it cannot keep.
        self._py_file = py_func.__code__.co_filename
        self._lineno = py_func.__code__.co_firstlineno

    def get_cache_path(self):
        return cache_directory()

    def get_source_stamp(self):
        return source_digest()

    def get_disambiguator(self):
        # Files of different folders have the same names, and numba takes no more of a path.
        return f"{self._module}-{self._lineno}"

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class KernelCache(caching.FunctionCache):
    """numba's cache of one function, with other files."""

    _impl_class = _Implementation

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)
