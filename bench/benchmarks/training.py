"""A training step of the demo's network: forward, backward, update."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import numpy as np

import fastconv as fc
from fastconv.models import digits_cnn

from . import axes, calls

_RECIPE = {"lr": 0.01, "momentum": 0.9, "nesterov": True}


class Digits:
    """Seconds of a step on a batch of images of 8×8 pixels."""

    params = (axes.ALGORITHMS, (8, 32, 128, 512))
    param_names = ("algorithm", "batch")
    timeout = 300
    repeat = (3, 20, 1.0)

    def setup(self, algorithm, batch):
        self._conditions = contextlib.ExitStack()
        try:
            self._conditions.enter_context(calls.conditions(algorithm, fc.get_num_threads()))
            self.step = _prepare(algorithm, batch)
        except ValueError as refusal:
            raise NotImplementedError(str(refusal)) from None

    def teardown(self, algorithm, batch):
        self._conditions.close()

    def time_step(self, algorithm, batch):
        self.step()


@functools.cache
def _prepare(algorithm: str, batch: int) -> Callable[[], None]:
    """A step that has been made once; ``ValueError`` if the algorithm cannot run every layer."""
    random = np.random.default_rng(0)
    images = random.random((batch, 1, 8, 8), np.float32)
    labels = random.integers(0, 10, batch)
    make = _torch if algorithm == "torch" else functools.partial(_fastconv, algorithm)
    step = make(images, labels)
    step()
    return step


def _fastconv(algorithm: str, images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    model = digits_cnn(rng=np.random.default_rng(0))
    loss_of = fc.nn.CrossEntropyLoss()
    optimizer = fc.optim.SGD(model.parameters(), **_RECIPE)

    def step() -> None:
        with fc.options(algorithm=algorithm):
            optimizer.zero_grad()
            loss_of(model(fc.Tensor(images)), fc.Tensor(labels)).backward()
            optimizer.step()

    return step


def _torch(images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """The same network of the same layers."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 10),
    )
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), **_RECIPE)
    x, wanted = torch.from_numpy(images), torch.from_numpy(labels)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(model(x), wanted).backward()
        optimizer.step()

    return step
