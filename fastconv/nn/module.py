"""``Module``: the base of all layers and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from fastconv.autograd import Tensor

from .parameter import Buffer, Parameter
from .state import IncompatibleKeys, load

AnyModule = TypeVar("AnyModule", bound="Module")
Item = TypeVar("Item")


class Module:
    """A layer, or a network of them, as ``torch.nn.Module``.

    A subclass sets parameters, buffers and modules as attributes and defines ``forward``.  What a
    module owns is what its attributes hold, in the order in which they were first set: there is no
    registry beside them.
    """

    training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        held = self.__dict__.get(name)
        for kind in (Parameter, Buffer, Module):
            if isinstance(held, kind) and value is not None and not isinstance(value, kind):
                raise TypeError(
                    f"{name} of {type(self).__name__} is a {kind.__name__}; cannot set it to "
                    f"a {type(value).__name__}"
                )
        super().__setattr__(name, value)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set the attribute ``name`` to a :class:`Buffer` of ``tensor`` (None: to None)."""
        setattr(self, name, None if tensor is None else Buffer(tensor, persistent=persistent))

    # What the module consists of.  Names of what is inside others are joined by dots.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules among the attributes, each once."""
        return _once((n, m) for n, m in vars(self).items() if isinstance(m, Module))

    def children(self) -> Iterator[Module]:
        """As :meth:`named_children`, without the names."""
        return (module for _, module in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module, named ``""``, and all inside it, each once, outer ones first."""
        return _once(walk(self))

    def modules(self) -> Iterator[Module]:
        """As :meth:`named_modules`, without the names."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters, each once, also where several modules share it."""
        return _once(owned(self, Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """As :meth:`named_parameters`, without the names."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """All buffers, each once."""
        return _once(owned(self, Buffer))

    def buffers(self) -> Iterator[Buffer]:
        """As :meth:`named_buffers`, without the names."""
        return (buffer for _, buffer in self.named_buffers())

    # What is done to all of it at once.

    def train(self: AnyModule, mode: bool = True) -> AnyModule:
        """Let this module and all inside it behave as in training (``mode`` False: as in use)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: AnyModule) -> AnyModule:
        """``train(False)``."""
        return self.train(False)

    def apply(self: AnyModule, function: Callable[[Module], Any]) -> AnyModule:
        """Call ``function`` with every module, inner ones first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none`` False, keep their arrays and fill in 0."""
        for parameter in self.parameters():
            parameter.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of all parameters and persistent buffers, by PyTorch's keys.

        They are the module's own, not copies: ``copy.deepcopy`` keeps a state that training
        leaves alone, ``np.savez(file, **state)`` saves one.
        """
        return {name: tensor.data for name, tensor in self._state().items()}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy arrays, tensors or PyTorch tensors into the parameters and buffers of these names.

        Returns the keys that ``state_dict`` lacks and those that are of no use here.

        Raises
        ------
        ValueError : listing everything that does not fit, before anything is written: shapes,
            dtypes, and with ``strict`` also missing and unexpected keys.
        """
        return load(type(self).__name__, self._state(), state_dict, strict)

    def _state(self) -> dict[str, Tensor]:
        return {
            name: tensor for name, tensor in owned(self, Parameter, Buffer)
            if getattr(tensor, "persistent", True)
        }  # fmt: skip

    def extra_repr(self) -> str:
        """What ``repr`` shows of the module itself."""
        return ""

    def __repr__(self) -> str:
        children = [
            f"({name}): {module!r}" for name, module in vars(self).items()
            if isinstance(module, Module)
        ]  # fmt: skip
        extra = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = "\n".join([extra, *children] if extra else children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {lines}\n)"


def walk(module: Module, prefix: str = "") -> Iterator[tuple[str, Module]]:
    """``module`` and all inside it; what is reached by several names comes several times."""
    yield prefix, module
    for name, value in vars(module).items():
        if isinstance(value, Module):
            yield from walk(value, f"{prefix}.{name}" if prefix else name)


def owned(module: Module, *kinds: type[Item]) -> Iterator[tuple[str, Item]]:
    """The tensors of the first of ``kinds`` in each module, then those of the second."""
    for prefix, inner in walk(module):
        for kind in kinds:
            for name, value in vars(inner).items():
                if isinstance(value, kind):
                    yield f"{prefix}.{name}" if prefix else name, value


def _once(named: Iterable[tuple[str, Item]]) -> Iterator[tuple[str, Item]]:
    """Each object under its first name."""
    seen = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
