"""Where machine code is kept between processes: a file for each compiled function.

A change of one source file may change the code of many functions, so the directory is named after
a digest of them all.
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
from numba.core.serialize import dumps

from . import files

SUFFIX = ".code"
_CHECK = 32  # bytes that a file begins with: the digest of the others

# Those of conv have no kernels, but what they measure and decide is kept in the same directory.
_DIGESTED = ("core", "simd", "gemm", "transforms", "plans", "conv", "ops")


@functools.cache
def source_digest() -> str:
    """Digest of every source file that takes part in a kernel, or in the choice of one."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(numba.__version__.encode())
    for folder in _DIGESTED:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_directory() -> str | None:
    """The directory of the compiled kernels, or None (with a warning) if none is writable.

    ``FASTCONV_CACHE_DIR`` overrides the user's cache directory.
    """
    import platformdirs

    asked = os.path.expanduser(os.environ.get("FASTCONV_CACHE_DIR", ""))
    base = asked or platformdirs.user_cache_dir("fastconv", False)
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


def identity(function, *more) -> tuple:
    """What tells a function from all others: its place, code and closure, and ``more``."""
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    parts = (hashlib.sha256(part).hexdigest() for part in (code.co_code, dumps(cells)))
    return function.__module__, function.__qualname__, code.co_firstlineno, *more, *parts


def digest(key) -> str:
    """A name for what ``key`` says."""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:24]


class Files:
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
            content = self._path(key).read_bytes()
            check, data = content[:_CHECK], content[_CHECK:]
            if _check(data) != check:  # damaged code would kill the process
                return None
            saved, value = pickle.loads(data)
            return value if saved == key else None
        except Exception:  # whatever a file of other origin makes of unpickling
            return None

    def save(self, key, value) -> None:
        """Keep ``value``; where nothing can be written, it is compiled again next time."""
        data = dumps((key, value))
        with contextlib.suppress(OSError):
            files.replace(self._path(key), _check(data) + data)

    def _path(self, key) -> Path:
        return self._folder / f"{self._name}-{digest(key)}{SUFFIX}"


def _check(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class _Nowhere:
    """Instead of files, where none can be written."""

    def load(self, key) -> None:
        return None

    def save(self, key, value) -> None:
        pass


def files_of(function) -> Files | _Nowhere:
    """Where the variants of a function are kept."""
    folder = cache_directory()
    if folder is None:
        return _Nowhere()
    line = function.__code__.co_firstlineno
    return Files(folder, f"{function.__module__}-{function.__name__}-{line}")
