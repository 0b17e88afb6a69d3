"""What was measured on this host, kept for later processes: a small JSON file for each fact.

A fact has a kind (a folder) and a key (the file is named after the key's digest and repeats it).
Files are written under a temporary name and then renamed, so readers see whole files only, and
processes that store different facts at once never touch the same file: nothing needs a lock, and
nothing is lost.  The folder lies inside the kernel cache, whose name changes with the kernels: what
was measured with other kernels is not found.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import files
from .cache import cache_directory

Key = dict[str, Any]  # plain values, as JSON has them


def recall(kind: str, key: Key, valid: Callable[[Any], bool]) -> Any | None:
    """The value stored for ``key``, or None.

    What cannot be read as such a fact, or whose value is not ``valid``, counts as none, with a
    ``RuntimeWarning``; storing the fact again replaces it, unless it is a folder.
    """
    path = _path(kind, key)
    if path is None or not os.path.exists(path):
        return None
    try:
        fact = json.loads(_bytes(path))
        if fact["fastconv"] == kind and fact["key"] == _plain(key) and valid(fact["value"]):
            return fact["value"]
        fault = "is not what fastconv writes there"
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        fault = f"is damaged ({type(error).__name__})"
    warnings.warn(
        f"fastconv ignores {str(path)!r}, which {fault}, and measures again.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _bytes(path: Path) -> bytes:
    if not os.path.isfile(path):  # it may never end
        raise OSError(errno.EINVAL, "it is no file")
    return path.read_bytes()


def remember(kind: str, key: Key, value: Any) -> None:
    """Store ``value`` for ``key``; where nothing can be written, nothing happens."""
    path = _path(kind, key)
    if path is None:
        return
    fact = {"fastconv": kind, "key": key, "value": value}
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        files.replace(path, json.dumps(fact, indent=1).encode())


def _plain(key: Key) -> Key:
    """``key`` as it comes back from a file: lists for tuples."""
    return json.loads(json.dumps(key))


def _path(kind: str, key: Key) -> Path | None:
    folder = cache_directory()
    if folder is None:
        return None
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return Path(folder, kind, f"{digest[:24]}.json")
