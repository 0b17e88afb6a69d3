"""What a command needs beyond what fastconv itself does."""

from __future__ import annotations

import importlib.util

from .errors import Failure


def require(command: str, extra: str, *packages: str) -> None:
    """Raise :class:`Failure`, which says what to install, unless all packages are there."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Failure(f"{command} needs {' and '.join(missing)}: pip install 'fastconv[{extra}]'")
