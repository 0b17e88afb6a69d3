"""Operators and functions of numbers: one table of gradients, and the methods that read it."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.ops import activation, linear
from fastconv.ops.broadcast import unbroadcast

from .promotion import combined, kind
from .tape import Gradient, is_grad_enabled
from .variable import Variable, plain_index

if TYPE_CHECKING:
    from .tensor import Tensor


def _power_of_base(y, a, b) -> Gradient:
    """b · a^(b−1), which is 0 where b is 0, also at a = 0."""

    def gradient(dy):
        exponent = np.asarray(b, y.dtype)
        return dy * exponent * np.power(a, np.where(exponent == 0, 1, exponent - 1))

    return gradient


def _power_of_exponent(y, a, b) -> Gradient:
    """y · ln a, which is 0 where a is 0 (its limit, for b > 0)."""

    def gradient(dy):
        base = np.asarray(a, y.dtype)
        return dy * y * np.log(np.where(base == 0, 1, base))

    return gradient


def _maximum(first, other) -> Gradient:
    """Equal elements share the gradient; beside a NaN each has all of it."""
    return lambda dy: dy * (1 - (first < other) - 0.5 * (first == other)).astype(dy.dtype)


def _absolute(y, a) -> Gradient:
    """The sign, which is taken as 0 for NaN."""
    return lambda dy: dy * ((a > 0).astype(dy.dtype) - (a < 0))


# For each forward: a function of its result and operands (y, a[, b]) for every operand, giving the
# function from dy to the operand's gradient.  What the inner function does not mention is not kept.
_GRADIENTS: dict[Callable, tuple[Callable[..., Gradient], ...]] = {
    np.add: (lambda y, a, b: lambda dy: dy, lambda y, a, b: lambda dy: dy),
    np.subtract: (lambda y, a, b: lambda dy: dy, lambda y, a, b: lambda dy: -dy),
    np.multiply: (lambda y, a, b: lambda dy: dy * b, lambda y, a, b: lambda dy: dy * a),
    np.true_divide: (
        lambda y, a, b: lambda dy: dy / b,
        lambda y, a, b: lambda dy: -dy * y / b,
    ),
    np.power: (_power_of_base, _power_of_exponent),
    np.maximum: (lambda y, a, b: _maximum(a, b), lambda y, a, b: _maximum(b, a)),
    np.matmul: (
        lambda y, a, b: lambda dy: linear.matmul_backward_first(dy, a, b),
        lambda y, a, b: lambda dy: linear.matmul_backward_second(dy, a, b),
    ),
    np.negative: (lambda y, a: lambda dy: -dy,),
    np.absolute: (_absolute,),
    np.exp: (lambda y, a: lambda dy: dy * y,),
    np.log: (lambda y, a: lambda dy: dy / a,),
    np.sqrt: (lambda y, a: lambda dy: dy / (y + y),),
    np.tanh: (lambda y, a: lambda dy: activation.tanh_backward(dy, y),),
    activation.relu_forward: (lambda y, a: lambda dy: activation.relu_backward(dy, y),),
    activation.sigmoid_forward: (lambda y, a: lambda dy: activation.sigmoid_backward(dy, y),),
    np.equal: (),
    np.not_equal: (),
    np.less: (),
    np.less_equal: (),
    np.greater: (),
    np.greater_equal: (),
}


# What makes floats of integers.
_FRACTIONAL = frozenset(
    (np.true_divide, np.exp, np.log, np.sqrt, np.tanh, activation.sigmoid_forward)
)


def _is_operand(value: Any) -> bool:
    return isinstance(value, (Variable, np.ndarray, np.generic, Number))


def _is_recorded(*operands: Any) -> bool:
    """Whether an operation of these goes on the tape."""
    return is_grad_enabled() and any(isinstance(o, Variable) and o.requires_grad for o in operands)


def _fitted(gradient: Gradient, operand: np.ndarray) -> Gradient:
    shape, dtype = operand.shape, operand.dtype
    return lambda dy: unbroadcast(np.asarray(gradient(dy)), shape, dtype)


def _operators(forward: Callable) -> tuple[Callable, Callable, Callable]:
    """The methods behind ``a ∘ b``, its reflection and ``a ∘= b``."""
    return (
        lambda self, other: self._operator(forward, self, other),
        lambda self, other: self._operator(forward, other, self),
        lambda self, other: self._update(forward, other),
    )


def _function(forward: Callable) -> Callable:
    return lambda self: self._apply(forward, self)


class Arithmetic(Variable):
    """Operators and elementwise functions, with NumPy's broadcasting.

    Dtypes combine as in PyTorch: numbers, and what has no axes, do not widen a result with axes,
    integers do not widen floats, and fractions of integers are float32.  NumPy's own functions
    (``np.exp(tensor)``, ``array * tensor``) come here too and are recorded.

    ``a += b`` and its kin write to the memory of ``a``, and so to every tensor and array that
    shares it.  Where the operation has to be recorded they make another tensor instead.  Nothing
    notices a change of an array that a later ``backward`` reads: the gradient is that of the new
    values.
    """

    def _apply(self, forward: Callable, *operands: Any) -> Tensor:
        """``forward`` of tensors, arrays and numbers, recorded."""
        arrays = combined(operands, forward in _FRACTIONAL)
        y = np.asarray(forward(*arrays))
        edges = [
            (operand, _fitted(gradient(y, *arrays), operand.data))
            for operand, gradient in zip(operands, _GRADIENTS[forward], strict=False)
            if isinstance(operand, Variable)
        ]
        return self.record(y, *edges)

    def _operator(self, forward: Callable, first: Any, second: Any) -> Tensor:
        if not (_is_operand(first) and _is_operand(second)):
            return NotImplemented
        return self._apply(forward, first, second)

    def maximum(self, other: Any) -> Tensor:
        """The larger of each two elements; equal ones share the gradient."""
        result = self._operator(np.maximum, self, other)
        if result is NotImplemented:
            raise TypeError(
                f"other must be a Tensor, an array or a number, got {type(other).__name__}"
            )
        return result

    def _update(self, forward: Callable, other: Any) -> Arithmetic:
        """``self ∘= other``, written to the array unless it is to be recorded."""
        if self.is_leaf:
            self._check_writable()
        if not _is_operand(other) or _is_recorded(self, other):
            return self._operator(forward, self, other)
        self._write(np.asarray(forward(*combined((self, other), forward in _FRACTIONAL))))
        return self

    def _write(self, y: np.ndarray) -> None:
        """Put a result into the array, or raise if it does not fit."""
        self._check_keeps(y.dtype)
        if y.shape != self.data.shape:
            raise ValueError(
                f"a result of shape {y.shape} cannot be kept in a tensor of shape {self.data.shape}"
            )
        if not self.data.flags.writeable:
            raise ValueError("the array of this tensor is read-only")
        self.data[...] = y

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write to elements of the array, which is never recorded; so does ``self[index] += b``."""
        if _is_recorded(self, value):
            raise RuntimeError("writing to elements is not recorded: it needs no_grad()")
        if not _is_operand(value):
            raise TypeError(f"elements must be set to a tensor, array or number, got {value!r:.60}")
        (new,) = combined((value,), fractional=False)
        self._check_keeps(np.asarray(new).dtype)
        self.data[plain_index(index)] = new

    def _check_keeps(self, dtype: np.dtype) -> None:
        if kind(dtype) > kind(self.data.dtype):
            raise TypeError(f"values of {dtype} cannot be kept in a tensor of {self.data.dtype}")

    def _check_writable(self) -> None:
        if self.requires_grad and is_grad_enabled():
            raise RuntimeError("a tensor that requires a gradient changes only under no_grad()")

    def zero_(self) -> Arithmetic:
        """Set every element to 0, as in ``p.grad.zero_()``."""
        self._check_writable()
        self.data.fill(0)
        return self

    def __array_ufunc__(self, ufunc, method, *operands, out=None, **options):
        if method != "__call__" or options or ufunc not in _GRADIENTS:
            return NotImplemented
        if out is None:
            return self._apply(ufunc, *operands)
        if any(isinstance(o, Variable) for o in out):
            return NotImplemented
        # array += tensor: the array is not on the tape, so the tensor must not be either
        arrays = [o.numpy() if isinstance(o, Arithmetic) else o for o in operands]
        return ufunc(*arrays, out=out)

    __add__, __radd__, __iadd__ = _operators(np.add)
    __sub__, __rsub__, __isub__ = _operators(np.subtract)
    __mul__, __rmul__, __imul__ = _operators(np.multiply)
    __truediv__, __rtruediv__, __itruediv__ = _operators(np.true_divide)
    __matmul__, __rmatmul__ = _operators(np.matmul)[:2]  # a @= b makes another tensor
    __pow__, __rpow__, __ipow__ = _operators(np.power)
    __eq__ = _operators(np.equal)[0]
    __ne__ = _operators(np.not_equal)[0]
    __lt__ = _operators(np.less)[0]
    __le__ = _operators(np.less_equal)[0]
    __gt__ = _operators(np.greater)[0]
    __ge__ = _operators(np.greater_equal)[0]
    __hash__ = Variable.__hash__  # defining == would otherwise take it away

    __neg__ = _function(np.negative)
    __abs__ = abs = _function(np.absolute)
    exp = _function(np.exp)
    log = _function(np.log)
    sqrt = _function(np.sqrt)
    tanh = _function(np.tanh)
    sigmoid = _function(activation.sigmoid_forward)
    relu = _function(activation.relu_forward)
