"""The standard training loop and its parts."""

from .history import History
from .metrics import accuracy
from .trainer import Trainer

__all__ = ["History", "Trainer", "accuracy"]
