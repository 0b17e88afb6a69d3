"""``Module``: the base of all layers and networks."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastconv.autograd import Tensor
from fastconv.core import checks

from .parameter import Buffer, Parameter
from .state import IncompatibleKeys, load

AnyModule = TypeVar("AnyModule", bound="Module")
Item = TypeVar("Item")


class _Slot(NamedTuple):
    """What an attribute may hold, beside None."""

    kind: type
    persistent: bool = True  # of a buffer


def _slot_of(value: Any) -> _Slot | None:
    for kind in (Parameter, Buffer, Module):
        if isinstance(value, kind):
            return _Slot(kind, getattr(value, "persistent", True))
    return None


class Module:
    """A layer, or a network of them, as ``torch.nn.Module``.

    A subclass sets parameters, buffers and modules as attributes and defines ``forward``.  What a
    module owns is what its attributes hold, in the order in which they were first set: there is no
    registry beside them, only a note of what may take the place of None.

    An attribute keeps its kind.  A tensor that is assigned to a buffer becomes the buffer's new
    value: a copy, off the tape.
    """

    training = True
    _vacant: Mapping[str, _Slot] = MappingProxyType({})  # of attributes that were set to None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        slot = self._slot(name)
        if slot is not None and value is None:
            self._vacant = {**self._vacant, name: slot}
        elif slot is not None and not isinstance(value, slot.kind):
            if slot.kind is not Buffer or _slot_of(value) or not isinstance(value, Tensor):
                raise TypeError(
                    f"{name} of {type(self).__name__} is a {slot.kind.__name__}; cannot set it to "
                    f"a {type(value).__name__}"
                )
            value = Buffer(value, persistent=slot.persistent)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._vacant = {other: slot for other, slot in self._vacant.items() if other != name}

    def _slot(self, name: str) -> _Slot | None:
        """What the attribute holds or, where it is None, what it may hold."""
        held = vars(self)
        if held.get(name) is not None:
            return _slot_of(held[name])
        return self._vacant.get(name) if name in held else None

    def _check_free(self, name: Any, kind: str) -> None:
        """Refuse what could not be the name of an attribute that is added."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a {kind} must be a string, got {name!r}")
        if not name or "." in name or hasattr(self, name):
            raise ValueError(f"{name!r} cannot name a {kind}: empty, dotted or taken")

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set the attribute ``name`` to a :class:`Buffer` of ``tensor``.

        Of None it makes None, and a buffer of the tensor that is assigned to it later.  ``name``
        is that of a buffer, or of nothing yet.
        """
        slot = _Slot(Buffer, checks.flag(persistent, "persistent"))
        held = self._slot(name) if isinstance(name, str) else None
        if held is None or held.kind is not Buffer:
            self._check_free(name, "buffer")
        if tensor is None:
            self._vacant = {**self._vacant, name: slot}
        else:
            tensor = Buffer(tensor, persistent=persistent)
        super().__setattr__(name, tensor)

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
        checks.flag(mode, "mode")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: AnyModule) -> AnyModule:
        """``train(False)``."""
        return self.train(False)

    def apply(self: AnyModule, function: Callable[[Module], Any]) -> AnyModule:
        """Call ``function`` with every module, inner ones first."""
        for module in _inner_first(self):
            function(module)
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

    @reprlib.recursive_repr("...")
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


def walk(
    module: Module, prefix: str = "", around: tuple[Module, ...] = ()
) -> Iterator[tuple[str, Module]]:
    """``module`` and all inside it; what is reached by several names comes several times.

    A module that is inside itself, as one that knows its parent, is not entered again.
    """
    yield prefix, module
    around = (*around, module)
    for name, value in vars(module).items():
        if isinstance(value, Module) and not any(value is outer for outer in around):
            yield from walk(value, f"{prefix}.{name}" if prefix else name, around)


def _inner_first(module: Module, around: tuple[Module, ...] = ()) -> Iterator[Module]:
    """As :func:`walk`, each module after those inside it."""
    around = (*around, module)
    for child in module.children():
        if not any(child is outer for outer in around):
            yield from _inner_first(child, around)
    yield module


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
