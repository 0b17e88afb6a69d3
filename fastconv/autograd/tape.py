"""The tape: which value was computed from which, and the walk that sends gradients back.

A :class:`Node` stands for one value.  Its *edges* say where the value's gradient goes: to the node
of each operand, through a function that turns the gradient of the value into that of the operand
(the chain rule, one gate at a time).  The functions close over the arrays they need and nothing
else, so an array that no gradient needs is freed as soon as the computation has moved on.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar, overload

import numpy as np

from fastconv.core.scoped import Scoped, inside

# A new array, the gradient it was given, or a view of it: never an array that it keeps.
Gradient = Callable[[np.ndarray], np.ndarray]

P = ParamSpec("P")
T = TypeVar("T")

_enabled = Scoped("grad_enabled", True, lambda outer, own: own)


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this Python thread."""
    return _enabled.get()


class _Recording:
    """Whether operations are recorded inside ``with``, or inside a function below it.

    One object may be entered again, also inside itself and in several threads.
    """

    def __init__(self, enabled: bool):
        self._enabled = enabled

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        return inside(self, function)

    def __enter__(self) -> None:
        _enabled.enter(self, self._enabled)

    def __exit__(self, *error: object) -> None:
        _enabled.leave(self)


@overload
def no_grad(function: None = None) -> _Recording: ...
@overload
def no_grad(function: Callable[P, T]) -> Callable[P, T]: ...
def no_grad(function=None):
    """Record nothing: ``with no_grad(): …``, or ``@no_grad`` or ``@no_grad()`` above a function.

    Holds for the Python thread that enters it, as ``torch.no_grad``.
    """
    return _Recording(False) if function is None else _Recording(False)(function)


@overload
def enable_grad(function: None = None) -> _Recording: ...
@overload
def enable_grad(function: Callable[P, T]) -> Callable[P, T]: ...
def enable_grad(function=None):
    """Record again, inside :func:`no_grad`, as ``torch.enable_grad``."""
    return _Recording(True) if function is None else _Recording(True)(function)


class Node:
    """One recorded value: where its gradient goes, and which tensor keeps it.

    ``edges`` is empty for a leaf and None once a backward pass has freed it.  ``owner`` refers to
    the tensor whose ``.grad`` receives the gradient (a leaf, or one that called ``retain_grad``);
    weakly, for nobody can read the gradient of a tensor that is gone.
    """

    __slots__ = ("edges", "owner")

    def __init__(self, edges: tuple[tuple[Node, Gradient], ...], owner: weakref.ref | None = None):
        self.edges: tuple[tuple[Node, Gradient], ...] | None = edges
        self.owner = owner


def _edges(node: Node) -> tuple[tuple[Node, Gradient], ...]:
    if node.edges is None:
        raise RuntimeError(
            "this graph was freed by an earlier backward(): call that one with retain_graph=True "
            "to go through the graph a second time"
        )
    return node.edges


def _sorted(root: Node) -> list[Node]:
    """Every node that ``root`` was computed from, each after all that were computed from it.

    Depth first with a stack of our own, so that depth costs memory and no recursion.
    """
    order, seen = [], {root}
    stack = [(root, iter(_edges(root)))]
    while stack:
        node, remaining = stack[-1]
        for operand, _ in remaining:
            if operand not in seen:
                seen.add(operand)
                stack.append((operand, iter(_edges(operand))))
                break
        else:
            order.append(node)
            stack.pop()
    return order[::-1]


def _is_borrowed(dx: np.ndarray, dy: np.ndarray) -> bool:
    """Whether dx is dy or a view of it, or one number that is broadcast."""
    return not dx.flags.writeable or np.may_share_memory(dx, dy)


def walk(root: Node, gradient: np.ndarray, retain_graph: bool = False) -> None:
    """Send ``gradient``, that of ``root``'s value, back to the leaves, where it accumulates.

    Each node passes its gradient on once, when the contributions of all its uses are in.
    """
    arrived = {root: gradient.copy("K") if root.owner else gradient}
    for node in _sorted(root):
        dy = arrived.pop(node)
        if node.owner is not None and (tensor := node.owner()) is not None:
            tensor._accumulate(dy)
        for operand, function in _edges(node):
            dx = np.asarray(function(dy))
            if operand in arrived:
                arrived[operand] = arrived[operand] + dx
            elif operand.owner is not None and _is_borrowed(dx, dy):
                arrived[operand] = dx.copy("K")  # a tensor's .grad shares memory with no other
            else:
                arrived[operand] = dx
        if node.edges and not retain_graph:
            node.edges = None
