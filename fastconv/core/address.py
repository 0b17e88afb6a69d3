"""Where the elements of an array are."""

from __future__ import annotations

from ctypes import c_size_t

import numpy as np

# NumPy's array object is a Python object's header, then the pointer to the first element (the
# stable layout of ``PyArrayObject_fields`` in ndarraytypes.h).  Reading it there takes a tenth of
# the microsecond that ``__array_interface__`` takes to build a dictionary, several times a call.
_POINTER = object.__basicsize__
_word_at = c_size_t.from_address


def address(array: np.ndarray) -> int:
    """Where the first element of ``array`` is."""
    return _word_at(id(array) + _POINTER).value


def _spelled_out(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


_sample = np.zeros(1)
if address(_sample) != _spelled_out(_sample):  # an interpreter with other objects
    address = _spelled_out
