"""The training run of the demo: its data, its net and its recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastconv import nn, optim
from fastconv.data import DataLoader, RandomShift, load_digits, stratified_split
from fastconv.models import digits_cnn
from fastconv.ops.softmax import softmax_forward
from fastconv.train import History, Trainer

BATCH = 32
HELD_OUT = 0.2
_SPLIT_SEED = 42  # never another one, so that every run is examined on the same digits
_RATE = 0.05  # of learning, at first


class Digits(NamedTuple):
    """Images (N, 1, 8, 8) and labels (N,): to train on, and held out."""

    training: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]


def digits() -> Digits:
    images, labels = load_digits()
    kept, held = stratified_split(labels, HELD_OUT, _SPLIT_SEED)
    return Digits((images[kept], labels[kept]), (images[held], labels[held]))


class Trained(NamedTuple):
    """What a run leaves: the net, its history, and its probabilities (N, 10) on the held out."""

    model: nn.Sequential
    history: History
    probabilities: np.ndarray


def train(
    data: Digits, epochs: int, seed: int, report: Callable[[dict[str, float]], None]
) -> Trained:
    """Train the net from the first values that ``seed`` draws; ``report`` is told of each epoch.

    Images are shifted by up to a pixel as they are drawn.  Nesterov momentum, and a learning rate
    that falls along a cosine (Loshchilov and Hutter, 2017).
    """
    rng = np.random.default_rng(seed)
    model = digits_cnn(rng=rng)
    optimizer = optim.SGD(model.parameters(), _RATE, momentum=0.9, weight_decay=1e-4, nesterov=True)

    def after_epoch(trainer: Trainer, record: dict[str, float]) -> None:
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 + math.cos(math.pi * record["epoch"] / epochs)) / 2
        report(record)

    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, callbacks=[after_epoch], progress=False
    )
    loader = DataLoader(data.training, BATCH, shuffle=True, transform=RandomShift(1), rng=rng)
    history = trainer.fit(loader, epochs, validation=data.held_out)
    scores = trainer.predict(data.held_out[0])
    return Trained(model, history, softmax_forward(scores, 1))
