"""A file a command writes: its place is tried beforehand, and it appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import Failure, Usage


def check(path: Path, suffix: str) -> None:
    """Raise :class:`Usage` unless a file ``path`` (ending in ``suffix``) can be written."""
    if path.suffix.lower() != suffix:
        raise Usage(f"output {str(path)!r} must end in {suffix}")
    try:
        if path.is_dir():
            raise Usage(f"output {str(path)!r} is a folder")
        if not path.parent.is_dir():
            raise Usage(f"output {str(path)!r}: there is no folder {str(path.parent)!r}")
        trial = _temporary(path)
        trial.touch()
        trial.unlink()
    except (OSError, ValueError) as error:  # the latter for a name with a 0 in it
        fault = getattr(error, "strerror", None) or error
        raise Usage(f"output {str(path)!r} cannot be written: {fault}") from None


def make_folder(path: Path) -> None:
    """Raise :class:`Usage` unless ``path`` is a folder, or can be made one."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise Usage(f"folder {str(path)!r} cannot be made: {error.strerror}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; it becomes ``path`` if the block succeeds."""
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise Failure(f"cannot write {str(path)!r}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")
