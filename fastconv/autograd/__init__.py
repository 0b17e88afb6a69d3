"""The tape: tensors that remember how they were computed, and gradients back to what they are."""

from .tape import enable_grad, is_grad_enabled, no_grad
from .tensor import Tensor

__all__ = ["Tensor", "enable_grad", "is_grad_enabled", "no_grad"]
