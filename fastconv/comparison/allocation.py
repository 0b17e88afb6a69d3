"""Memory as a program that runs for long has it: kept by the process, not given back and fetched.

By default glibc returns large arrays to the system as soon as they are freed.  In a measuring loop
every result would then be made of new pages, which can take longer than computing it; libraries
that keep their own memory would win by that alone.
"""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGEST = 32 << 20  # bytes; glibc takes no higher threshold


def keep_memory() -> bool:
    """Have this process keep what it frees, up to a gigabyte; False elsewhere than on glibc."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return all((mallopt(_MMAP_THRESHOLD, _LARGEST), mallopt(_TRIM_THRESHOLD, 1 << 30)))
    return False
