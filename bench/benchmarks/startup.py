"""What a process spends before its first result: importing, compiling or loading the kernels."""

from __future__ import annotations

import functools
import importlib.util

_IMPORTS = """
import numpy as np
import fastconv as fc
x, w = np.ones((2, 32, 28, 28), np.float32), np.ones((32, 32, 3, 3), np.float32)
"""
_EMPTY_CACHE = """
import os, tempfile
folder = tempfile.TemporaryDirectory()
os.environ["FASTCONV_CACHE_DIR"] = folder.name
"""
_CALL = "fc.conv2d(x, w, padding=1, algorithm={!r})"


class Import:
    """Seconds to import a library."""

    params = ("fastconv", "numba", "torch")
    param_names = ("library",)

    def setup(self, library):
        if importlib.util.find_spec(library) is None:
            raise NotImplementedError(f"{library} is not installed")

    def timeraw_import(self, library):
        return f"import {library}"


class FirstCall:
    """Seconds of the first convolution of a process."""

    params = ("auto", "direct", "im2col", "winograd", "fft", "strassen")
    param_names = ("algorithm",)
    timeout = 300
    rounds, repeat, warmup_time = 1, 3, 0

    def setup(self, algorithm):
        _leave_in_cache(algorithm)

    def timeraw_cold(self, algorithm):
        """With everything to be compiled."""
        return _CALL.format(algorithm), _EMPTY_CACHE + _IMPORTS

    def timeraw_warm(self, algorithm):
        """With the kernels in the cache."""
        return _CALL.format(algorithm), _IMPORTS


@functools.cache
def _leave_in_cache(algorithm: str) -> None:
    exec(_IMPORTS + _CALL.format(algorithm), {})
