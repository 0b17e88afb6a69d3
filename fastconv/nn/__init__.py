"""Layers, losses and the modules that hold them, by PyTorch's names."""

from . import functional, init
from .activation import ReLU
from .container import Sequential
from .conv import Conv2d
from .flatten import Flatten
from .linear import Linear
from .loss import CrossEntropyLoss
from .module import Module
from .parameter import Buffer, Parameter
from .pooling import AvgPool2d, MaxPool2d
from .random import manual_seed

__all__ = [
    "AvgPool2d",
    "Buffer",
    "Conv2d",
    "CrossEntropyLoss",
    "Flatten",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "functional",
    "init",
    "manual_seed",
]
