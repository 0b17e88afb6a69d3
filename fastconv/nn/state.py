"""Loading a saved state: everything is checked, then everything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastconv.autograd import Tensor
from fastconv.autograd.variable import as_array


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` returns: keys of the module, or of the state, without a partner."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(
    name: str, tensors: Mapping[str, Tensor], state_dict: Mapping[str, Any], strict: bool
) -> IncompatibleKeys:
    """Copy ``state_dict`` into ``tensors``; ``name`` is what an error says it was meant for."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a mapping, got {type(state_dict).__name__}")
    keys = IncompatibleKeys(
        [key for key in tensors if key not in state_dict],
        [key for key in state_dict if key not in tensors],
    )
    arrays = {key: as_array(state_dict[key], key) for key in tensors if key in state_dict}
    errors = _mismatches(tensors, arrays)
    if strict:
        errors = [*_listed("Missing", keys[0]), *_listed("Unexpected", keys[1]), *errors]
    if errors:
        raise ValueError(f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(errors))
    for key, array in arrays.items():
        tensors[key].data[...] = array
    return keys


def _listed(kind: str, keys: list[str]) -> list[str]:
    quoted = ", ".join(f'"{key}"' for key in keys)
    return [f"{kind} key(s) in state_dict: {quoted}."] if keys else []


def _mismatches(tensors: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]) -> list[str]:
    return [
        f"{what} mismatch for {key}: copying a param with {what} {theirs} from checkpoint, "
        f"the {what} in current model is {ours}."
        for key, array in arrays.items()
        for what, theirs, ours in (
            ("size", array.shape, tensors[key].shape),
            ("dtype", array.dtype, tensors[key].dtype),
        )
        if theirs != ours
    ]
