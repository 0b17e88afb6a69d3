"""Types of what the public functions take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Array(Protocol):
    """A NumPy array, or one of another library that shares its memory."""

    def __dlpack__(self, *args: Any, **settings: Any) -> Any: ...


Size = int | tuple[int, ...] | list[int]  # one number for both axes, or one for each
Shape = Sequence[int]
