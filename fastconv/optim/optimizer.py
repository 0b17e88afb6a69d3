"""``Optimizer``: parameter groups, their settings, and the state kept for each parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fastconv.autograd import Tensor, enable_grad
from fastconv.autograd.variable import as_array

Group = dict[str, Any]


class Optimizer:
    """The part that all optimisers share, as ``torch.optim.Optimizer``.

    Parameters
    ----------
    params : tensors, or groups ``{"params": tensors, "lr": …}`` with settings of their own
    defaults : settings of the groups that do not say otherwise

    ``param_groups`` are dicts that may be changed between steps (a learning rate, say);
    ``state[parameter]`` is what the optimiser remembers of a parameter.  A subclass defines
    :meth:`check` of a group's settings and :meth:`update` of one parameter, and names the
    ``buffers`` that it keeps: arrays of the parameter's shape, or None.
    """

    buffers: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Any], defaults: Group):
        one = isinstance(params, (Tensor, np.ndarray, Mapping))
        if one or not isinstance(params, Iterable):
            raise TypeError(f"params must be a list of tensors or groups, got {type(params)}")
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        groups = list(params)
        if not groups:
            raise ValueError("params must not be empty")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def check(self, group: Group) -> None:
        """Raise ``ValueError`` if a setting makes no sense."""

    def update(self, parameter: Tensor, gradient: np.ndarray, group: Group) -> None:
        """Take one step with one parameter; ``gradient`` may not be changed."""
        raise NotImplementedError

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Train these parameters too, with settings of their own.

        Raises
        ------
        TypeError, ValueError : a parameter is no tensor, no leaf, listed twice or already in
            another group, or a setting makes no sense.
        """
        if not isinstance(group, Mapping):
            raise TypeError(f"a group must be a mapping, got {type(group).__name__}")
        if "params" not in group:
            raise ValueError(f"a group must have 'params', got {', '.join(map(repr, group))}")
        params = group["params"]
        if not isinstance(params, (Tensor, Iterable)):
            raise TypeError(f"params of a group must be tensors, got {type(params).__name__}")
        params = [params] if isinstance(params, Tensor) else list(params)
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        for i, parameter in enumerate(params):
            if not isinstance(parameter, Tensor):
                raise TypeError(f"params[{i}] must be a Tensor, got {type(parameter).__name__}")
            if not parameter.is_leaf:
                raise ValueError(f"params[{i}] of shape {parameter.shape} is not a leaf tensor")
            if id(parameter) in taken:
                raise ValueError(f"params[{i}] of shape {parameter.shape} is listed twice")
            taken.add(id(parameter))
        complete = {**self.defaults, **group, "params": params}
        self.check(complete)
        self.param_groups.append(complete)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none`` False, keep their arrays and fill in 0."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.zero_grad(set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        ``closure``, if given, computes the gradients first; its result is returned.
        """
        with enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad.data, group)
        return loss

    def _numbered(self) -> list[Tensor]:
        """The parameters in the order that a state_dict numbers them."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """The settings and what is remembered, parameters replaced by their number.

        The arrays are the optimiser's own, not copies.
        """
        number = {id(parameter): i for i, parameter in enumerate(self._numbered())}
        return {
            "state": {number[id(p)]: dict(s) for p, s in self.state.items() if id(p) in number},
            "param_groups": [
                {**group, "params": [number[id(p)] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`, of which arrays are copied.

        Raises
        ------
        TypeError, ValueError : it is no such thing, or its groups, the numbers of its parameters or
            the shapes of its arrays are not those of this optimiser.
        """
        remembered, groups = _parts(state_dict)
        numbers = self._saved_numbers(groups)
        lacking = [
            f"param_groups[{i}][{key!r}]"
            for i, group in enumerate(groups) for key in self.defaults if key not in group
        ]  # fmt: skip
        if lacking:
            raise ValueError(f"state_dict lacks {', '.join(lacking)}")
        unknown = [key for key in remembered if key not in numbers]
        if unknown:
            raise ValueError(f"state_dict['state'] has no parameters {unknown}, only {numbers}")
        state = {
            parameter: self._copied(remembered[number], parameter, number)
            for parameter, number in zip(self._numbered(), numbers, strict=True)
            if number in remembered
        }
        settings = [
            {**saved, "params": group["params"]}
            for saved, group in zip(groups, self.param_groups, strict=True)
        ]
        for group in settings:
            self.check(group)
        self.state = state
        for group, saved in zip(self.param_groups, settings, strict=True):
            group.update(saved)

    def _saved_numbers(self, groups: list[Mapping[str, Any]]) -> list[Any]:
        """The numbers that saved groups, as long as ours, have for our parameters."""
        numbered = [group["params"] for group in groups]
        if not all(isinstance(numbers, (list, tuple)) for numbers in numbered):
            raise TypeError(f"params of saved groups must be lists of numbers, got {numbered!r}")
        sizes = [len(numbers) for numbers in numbered]
        ours = [len(group["params"]) for group in self.param_groups]
        if sizes != ours:
            raise ValueError(f"state_dict has groups of {sizes} parameters, this optimizer {ours}")
        return [number for numbers in numbered for number in numbers]

    def _copied(self, saved: Any, parameter: Tensor, number: int) -> dict[str, Any]:
        """What is remembered of a parameter; arrays are copies of its shape and dtype."""
        if not isinstance(saved, Mapping):
            raise TypeError(f"the state of parameter {number} must be a mapping, got {saved!r}")
        copied = dict(saved)
        for name, value in saved.items():
            kept = name in self.buffers and value is not None
            if kept or isinstance(value, list) or hasattr(value, "shape"):
                array = as_array(value, f"{name} of parameter {number}")
                if array.shape != parameter.shape:
                    raise ValueError(
                        f"{name} of parameter {number} has shape {array.shape}, "
                        f"the parameter has {parameter.shape}"
                    )
                copied[name] = array.astype(parameter.dtype)
        return copied


def _parts(state_dict: Any) -> tuple[Mapping[Any, Any], list[Mapping[str, Any]]]:
    """What a saved state remembers, and its groups, each with parameters."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a mapping, got {type(state_dict).__name__}")
    missing = [key for key in ("state", "param_groups") if key not in state_dict]
    remembered, groups = state_dict.get("state", {}), state_dict.get("param_groups", [])
    if not isinstance(remembered, Mapping):
        raise TypeError(f"state_dict['state'] must be a mapping, got {remembered!r}")
    if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
        raise TypeError(f"state_dict['param_groups'] must be a list of mappings, got {groups!r}")
    missing += [f"param_groups[{i}]['params']" for i, g in enumerate(groups) if "params" not in g]
    if missing:
        raise ValueError(f"state_dict lacks {', '.join(missing)}")
    return remembered, groups
