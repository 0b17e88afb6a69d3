"""``Variable``: an array and its place on the tape.  ``Tensor`` adds the operations to it."""

from __future__ import annotations

import weakref
from array import array as pyarray
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.core import checks
from fastconv.core.locks import Lock

from . import tape

if TYPE_CHECKING:
    from .tensor import Tensor

_accumulation = Lock()  # backward passes of several Python threads may share parameters


def _is_wide(value: Any) -> bool:
    """Whether ``value``, or something in nested lists, comes as float64."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_wide, value))
    if isinstance(value, (memoryview, pyarray)):
        return memoryview(value).format.endswith("d")
    dtype = getattr(value, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind == "f" and dtype.itemsize == 8


def as_array(value: Any, name: str = "array") -> np.ndarray:
    """``value`` as a native array of float32, float64, integers or bools, shared where possible.

    Arrays keep their dtype.  Python floats become float32, as in PyTorch, and so do lists of them
    unless there are float64 numbers or arrays among them.
    """
    if isinstance(value, Variable):
        return value.data
    if hasattr(value, "__dlpack__") and not isinstance(value, (np.ndarray, np.generic)):
        value = checks.from_dlpack(value, name)
    checks.unmasked(value, name)
    array = np.asarray(value)
    if array.dtype == np.float64 and not _is_wide(value):
        return array.astype(np.float32)
    if array.dtype.kind not in "iub" and (array.dtype.kind != "f" or array.itemsize not in (4, 8)):
        raise TypeError(
            f"{name} must hold real numbers (float32, float64, integers or bools), "
            f"got dtype {array.dtype}"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_kind(array: np.ndarray) -> None:
    """``TypeError`` unless there can be a gradient with respect to such an array."""
    if array.dtype.kind != "f":
        raise TypeError(f"only floating-point tensors can require gradients, got {array.dtype}")


def _check_alike(array: np.ndarray, name: str, other: np.ndarray) -> None:
    """``ValueError`` unless a tensor's data and its gradient have one shape and dtype."""
    if (array.shape, array.dtype) != (other.shape, other.dtype):
        raise ValueError(
            f"{name} must be {other.dtype} of shape {other.shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )


def plain_index(index: Any) -> tuple[Any, ...]:
    """The parts of an index, without tensors."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(part.data if isinstance(part, Variable) else part for part in parts)


class Variable:
    """An array, its gradient and its place on the tape.

    Attributes
    ----------
    data : the array itself; writing to it is not recorded (that is how optimisers step).  Another
        array, or a Tensor, may be put in its place: of the same shape and dtype while there is
        a gradient
    grad : Tensor or None, what the backward passes since the last ``grad = None`` have added up
    """

    _data: np.ndarray
    owns_data = False  # whether the array is known to be no caller's
    _node: tape.Node | None
    _grad: Tensor | None

    __hash__ = object.__hash__  # by identity, although == compares elements

    def __init__(self, array: Any, requires_grad: bool = False):
        self._data = as_array(array)
        self._node = None
        self._grad = None
        if requires_grad is not False:
            self.requires_grad = requires_grad

    @staticmethod
    def record(data: np.ndarray, *edges: tuple[Variable, tape.Gradient]) -> Tensor:
        """The result of an operation, as a tensor on the tape.

        Each edge is an operand and a function from the gradient of the result to the operand's.
        Edges to operands that need no gradient are dropped, with all that their functions hold.
        This is how one adds an operation: ``Tensor.record(np.sin(x.data), (x, lambda dy: …))``.
        """
        raise NotImplementedError

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        array = as_array(value, "data")
        if self._node is not None:
            _check_kind(array)
        if self._grad is not None:
            _check_alike(array, "data", self._grad.data)
        if array is not self._data:  # as it is where ``data *= 2`` assigns it
            self._data, self.owns_data = array, False

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass computes the gradient of this tensor.

        It can be set on leaves (tensors that no operation made), to freeze a parameter.  A tensor
        that shares a caller's array gets a copy of it, for optimisers write to it.
        """
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, needed: bool) -> None:
        checks.flag(needed, "requires_grad")
        if not self.is_leaf:
            raise RuntimeError("requires_grad can be changed on leaves only; use detach()")
        if needed:
            _check_kind(self.data)
            if not self.owns_data:
                self._data, self.owns_data = self._data.copy(order="K"), True
        self._node = tape.Node((), weakref.ref(self)) if needed else None

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that no recorded operation made."""
        return self._node is None or self._node.edges == ()

    @property
    def grad(self) -> Tensor | None:
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is self._grad:  # as in ``p.grad *= 0.5``
            return
        self._grad = None
        if value is not None:
            gradient = self.record(as_array(value))
            _check_alike(gradient.data, "grad", self.data)
            gradient.data = gradient.data.copy(order="K")
            gradient.owns_data = True
            self._grad = gradient

    def numpy(self) -> np.ndarray:
        """The array, not a copy of it.

        Raises ``RuntimeError`` where that would silently leave the tape: use ``detach()`` first.
        """
        if self.requires_grad:
            raise RuntimeError("this tensor requires a gradient: use tensor.detach().numpy()")
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def _accumulate(self, gradient: np.ndarray) -> None:
        """Add to ``.grad``, which keeps its array; the first time, take ``gradient`` as it is."""
        with _accumulation:
            if self._grad is None:
                self._grad = self.record(gradient)
                self._grad.owns_data = True
            else:
                self._grad.data += gradient

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget ``.grad``; with ``set_to_none`` False, keep its array and fill in 0."""
        if checks.flag(set_to_none, "set_to_none") or self._grad is None:
            self._grad = None
        else:
            self._grad.data.fill(0)

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this tensor too; without this call only leaves have one."""
        if self._node is None:
            raise RuntimeError("retain_grad() needs a tensor that requires a gradient")
        self._node.owner = weakref.ref(self)

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor with respect to each leaf to the leaf's ``.grad``.

        Parameters
        ----------
        gradient : array or Tensor of this shape, to multiply with (the chain rule's first factor);
            may be left out, as 1, for a tensor with one element
        retain_graph : keep what the pass needs, so that it can be run again

        Raises
        ------
        RuntimeError : nothing here requires a gradient, the graph was freed by an earlier pass, or
            ``gradient`` is missing for a tensor with more than one element.
        ValueError, TypeError : ``gradient`` has another shape or dtype.
        """
        if self._node is None:
            raise RuntimeError("backward() needs a tensor that was computed from one that requires "
                               "a gradient (and not under no_grad)")  # fmt: skip
        if gradient is None:
            if self.data.size != 1:
                raise RuntimeError(
                    "backward() without a gradient needs a tensor with one element, "
                    f"this one has shape {self.data.shape}"
                )
            first = np.ones_like(self.data)
        else:
            first = as_array(gradient, "gradient")
            if not hasattr(gradient, "dtype"):  # Python numbers have that of what they are for
                first = first.astype(self.data.dtype)
        if first.shape != self.data.shape:
            raise ValueError(f"gradient must have shape {self.data.shape}, got {first.shape}")
        if first.dtype != self.data.dtype:
            raise TypeError(f"gradient must be {self.data.dtype}, got {first.dtype}")
        tape.walk(self._node, first, retain_graph)

    def __getstate__(self) -> dict[str, Any]:
        """For ``copy.deepcopy`` and ``pickle``, which leave the tape behind."""
        if not self.is_leaf:
            raise RuntimeError("only leaves can be copied or pickled; use detach()")
        return {**self.__dict__, "_node": self.requires_grad}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _node=None)
        self.requires_grad = state["_node"]
