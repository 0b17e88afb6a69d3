"""``Trainer``: the loop that nearly every training run is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np
from rich.console import Console

from fastconv.autograd import Tensor, no_grad
from fastconv.core import checks
from fastconv.nn import Module
from fastconv.optim import Optimizer

from .batches import Rng, batches, pairs
from .history import History, Means, Record
from .metrics import Metric, resolve
from .progress import Progress


class Trainer:
    """Fit a model to data, and evaluate and use it.

    Parameters
    ----------
    model : Module, called with a tensor of inputs
    loss : called with the model's output and the targets; gives a tensor with one element
    optimizer : of the model's parameters, or some of them
    metrics : names (``"accuracy"``) or functions of two arrays, output and target
    callbacks : functions called after every epoch with the trainer and the epoch's record; one
        that sets ``trainer.stop = True`` ends the training
    progress : show a line for every epoch and, on a terminal, a bar while it runs

    ``history`` is that of the last (or the running) :meth:`fit`.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        *,
        metrics: Iterable[str | Metric] = ("accuracy",),
        callbacks: Iterable[Callable[[Trainer, Record], Any]] = (),
        progress: bool = True,
    ):
        wanted = (("model", model, Module), ("optimizer", optimizer, Optimizer))
        for name, value, kind in wanted:
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name} must be of type {kind.__name__}, got {type(value).__name__}"
                )
        self.model = model
        self.loss = _callable(loss, "loss")
        _check_holds(optimizer, model)
        self.optimizer = optimizer
        self.metrics = resolve(metrics)
        if callable(callbacks) or not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks must be a list of functions, got {callbacks!r}")
        self.callbacks = [_callable(one, f"callbacks[{i}]") for i, one in enumerate(callbacks)]
        self.progress = checks.flag(progress, "progress")
        self.history = History()
        self.stop = False

    def fit(
        self,
        data: Any,
        epochs: int,
        *,
        batch_size: int = 32,
        validation: Any = None,
        shuffle: bool = True,
        rng: Rng = None,
    ) -> History:
        """Train for ``epochs`` passes over ``data``.

        Parameters
        ----------
        data, validation : pairs of arrays (input, target), or loaders of such batches
        batch_size : samples in a batch of arrays
        shuffle : draw a new order of the arrays in every epoch
        rng : of the orders: a generator or a seed; None for :func:`fastconv.manual_seed`'s
        """
        training = batches(data, "data", batch_size, shuffle, rng)
        held_out = None if validation is None else batches(validation, "validation", batch_size)
        progress = Progress(checks.integer(epochs, "epochs"), Console(quiet=not self.progress))
        self.history, self.stop = History(), False
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            steps = len(training) if isinstance(training, Sized) else None
            with progress.bar(epoch, steps) as show:
                record = {"epoch": epoch, **self._train(training, show)}
            if held_out is not None:
                measured = self.evaluate(held_out)
                record |= {f"val_{name}": value for name, value in measured.items()}
            record["seconds"] = time.perf_counter() - start
            self.history.append(record)
            progress.line(epoch, record)
            for callback in self.callbacks:
                callback(self, record)
            if self.stop:
                break
        return self.history

    def step(self, input: Any, target: Any) -> Record:
        """One step of the optimiser on one batch; the loss and metrics before it."""
        self.optimizer.zero_grad()
        values, loss = self._measure(input, target)
        loss.backward()
        self.optimizer.step()
        return values

    def evaluate(self, data: Any, batch_size: int = 256) -> Record:
        """The mean loss and metrics over ``data`` (as in :meth:`fit`), nothing being learned."""
        means = Means()
        with self._in_use():
            for input, target in pairs(batches(data, "data", batch_size)):
                means.add(self._measure(input, target)[0], len(input))
        return means.result()

    def predict(self, input: Any, batch_size: int = 256) -> np.ndarray:
        """The model's output for an array of inputs (N, …)."""
        size = checks.integer(batch_size, "batch_size", 1)
        with self._in_use():
            parts = [
                self.model(Tensor(input[i : i + size])).data
                for i in range(0, max(len(input), 1), size)
            ]
        return np.concatenate(parts)

    def _train(self, data: Iterable[Any], show: Callable[[Record], None]) -> Record:
        self.model.train()
        means = Means()
        for input, target in pairs(data):
            means.add(self.step(input, target), len(input))
            if means.samples:
                show(means.result())
        return means.result()

    def _measure(self, input: Any, target: Any) -> tuple[Record, Tensor]:
        output, target = self.model(Tensor(input)), Tensor(target)
        loss = self.loss(output, target)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise TypeError(f"loss must give a Tensor with one element, got {loss!r:.60}")
        values = {"loss": loss.item()}
        for name, metric in self.metrics.items():
            values[name] = metric(output.data, target.data)
        return values, loss

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Evaluation mode without a tape; afterwards every module is back in its own mode."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode


def _check_holds(optimizer: Optimizer, model: Module) -> None:
    """``ValueError`` if no step would change the model."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(parameter) in held for parameter in model.parameters()):
        raise ValueError("optimizer must hold parameters of the model, it has none of them")


def _callable(value: Any, name: str) -> Any:
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")
    return value
