"""The training loop: that it learns, what it reports, and that the same seed gives the same run."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

import fastconv as fc
from fastconv import nn, optim, train
from fastconv.data import DataLoader, RandomShift
from fastconv.nn.random import generator
from fastconv.train.batches import batches
from fastconv.train.history import Means, describe
from fastconv.train.progress import Progress


def points(samples=64, classes=4):
    """Random points with random classes: nothing to learn but the points themselves."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((samples, 8)).astype(np.float32)
    return inputs, rng.integers(0, classes, samples)


def trainer(lr=0.1, classes=4, **options):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(8, 64, rng=rng), nn.ReLU(), nn.Linear(64, classes, rng=rng))
    optimizer = optim.SGD(model.parameters(), lr, momentum=0.9)
    options = {"progress": False, **options}
    return train.Trainer(model, nn.CrossEntropyLoss(), optimizer, **options)


def test_it_overfits_random_points():
    t = trainer()
    history = t.fit(points(), 60, batch_size=16, rng=0)
    assert history["loss"][0] > 1.2
    assert history["loss"][-1] < 0.05
    assert history["accuracy"][-1] == 1
    assert t.evaluate(points())["accuracy"] == 1


def test_a_convolutional_net_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 64)
    images = 0.5 * rng.standard_normal((64, 1, 6, 6)).astype(np.float32)
    images[labels == 1, :, 2:4] += 1  # a horizontal bar,
    images[labels == 0, :, :, 2:4] += 1  # or a vertical one
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 2, rng=rng),
    )  # fmt: skip
    t = train.Trainer(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1), progress=False
    )
    history = t.fit((images, labels), 12, batch_size=8, rng=0)
    assert history["accuracy"][-1] > 0.95
    assert history["loss"][-1] < 0.2 < 0.5 < history["loss"][0]


def test_history_of_every_epoch():
    x, y = points()
    t = trainer()
    history = t.fit((x, y), 3, batch_size=24, validation=(x[:10], y[:10]), rng=0)
    assert t.history is history
    assert len(history) == 3
    names = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert list(history.as_dict()) == list(history.epochs[0]) == names
    assert history["epoch"] == [1, 2, 3]
    assert history.epochs[2]["val_loss"] == t.evaluate((x[:10], y[:10]))["loss"]
    assert all(seconds > 0 for seconds in history["seconds"])
    assert all(
        type(value) in (int, float) for record in history.epochs for value in record.values()
    )
    assert repr(history).startswith("History(3 epochs, last loss ")
    assert train.History().as_dict() == {}


def test_means_weigh_batches_by_their_samples():
    t, (x, y) = trainer(), points(10)
    whole = t.evaluate((x, y), batch_size=10)
    parts = t.evaluate((x, y), batch_size=4)  # 4, 4 and 2
    for name in ("loss", "accuracy"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-6)
    means = Means()
    means.add({"loss": 1.0}, 3)
    means.add({"loss": 5.0}, 1)
    assert means.result() == {"loss": 2.0}


def test_the_loss_reported_is_the_one_before_each_step():
    x, y = points(32)
    t = trainer(lr=0.05)
    first = t.evaluate((x, y))
    history = t.fit((x, y), 2, batch_size=32, shuffle=False)
    assert history["loss"][0] == pytest.approx(first["loss"])
    assert history["loss"][1] < history["loss"][0]


def _run(**options):
    """The losses and final parameters of a short training run."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    t = train.Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False)
    history = t.fit(points(), 3, batch_size=16, **options)
    return history["loss"], [p.data for p in model.parameters()]


def test_one_seed_gives_one_run():
    runs = []
    for seed in (1, 1, 2):
        fc.manual_seed(seed)
        runs.append(_run())
    assert runs[0][0] == runs[1][0] != runs[2][0]
    for first, second in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_order_of_batches_has_a_seed_of_its_own():
    losses = []
    for rng in (5, np.random.default_rng(5), 6):
        fc.manual_seed(1)
        losses.append(_run(rng=rng)[0])
    assert losses[0] == losses[1] != losses[2]


def test_evaluate_and_predict_learn_nothing_and_restore_every_mode():
    t, (x, y) = trainer(), points(10)
    t.model[1].eval()
    before = [p.data.copy() for p in t.model.parameters()]
    modes = []
    forward = t.model.forward
    t.model.forward = lambda input: modes.append(t.model.training) or forward(input)
    scores = t.predict(x, batch_size=4)
    assert scores.shape == (10, 4)
    assert modes == [False] * 3
    assert [m.training for m in t.model.modules()] == [True, True, False, True]
    assert t.evaluate((x, y))["accuracy"] == (scores.argmax(1) == y).mean()
    assert all(p.grad is None for p in t.model.parameters())
    for p, was in zip(t.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, was)
    np.testing.assert_allclose(forward(x).detach(), scores, rtol=1e-5, atol=1e-6)
    assert t.predict(x[:0]).shape == (0, 4)

    def fail(input):
        raise KeyError

    t.model.forward = fail
    with pytest.raises(KeyError):
        t.predict(x)
    assert t.model.training


def test_loaders_keep_their_own_batches():
    x, y = points(20)
    seen = []

    def size(output, target):
        seen.append(len(target))
        return 0.0

    t = trainer(metrics=[size])
    history = t.fit(DataLoader((x, y), 8, shuffle=True), 2, validation=[(x[:3], y[:3])])
    assert seen == [8, 8, 4, 3] * 2
    assert history["size"] == [0, 0]
    generated = trainer().fit(Unsized(x, y), 1)
    assert len(generated) == 1


class Unsized:
    """An iterable that does not know how long it is."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __iter__(self):
        yield self.arrays


def test_shuffling():
    x = np.arange(10)
    in_order = batches((x, x), "data", 4)
    assert [b[0].tolist() for b in in_order] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(in_order) == 3
    shuffled = batches((x, x * 2), "data", 4, shuffle=True, rng=3)
    passes = [[np.concatenate(part) for part in zip(*shuffled, strict=True)] for _ in range(2)]
    for inputs, targets in passes:
        np.testing.assert_array_equal(np.sort(inputs), x)
        np.testing.assert_array_equal(targets, 2 * inputs)
    assert not np.array_equal(passes[0][0], passes[1][0]), "every pass has its own order"
    again = batches((x, x * 2), "data", 4, shuffle=True, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(np.concatenate([b[0] for b in again]), passes[0][0])


def test_batches_keep_the_memory_order():
    x = np.zeros((6, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)
    for shuffle in (True, False):
        for input, _ in batches((x, np.zeros(6)), "data", 4, shuffle):
            assert input.strides == x.strides


def test_callbacks_see_every_epoch_and_can_stop():
    seen = []

    def callback(trainer, record):
        seen.append((len(trainer.history), record["epoch"]))
        trainer.stop = record["epoch"] == 2

    t = trainer(callbacks=[callback])
    assert len(t.fit(points(), 5)) == 2
    assert seen == [(1, 1), (2, 2)]
    t.callbacks = []
    assert t.stop and len(t.fit(points(), 2)) == 2


def test_accuracy():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]])
    assert train.accuracy(scores, np.array([1, 0, 0])) == pytest.approx(2 / 3)
    assert train.accuracy(scores, np.array([[0, 1], [1, 0], [0.2, 0.8]])) == 1


@pytest.mark.parametrize(
    ("output", "target"),
    [
        *[((4,), (4,)), ((4, 3), (4, 1)), ((4, 3), (1,)), ((4, 3, 2), (4,))],
        *[((4, 1), (4,)), ((4, 1), (4, 1))],  # a single score says nothing
    ],
)
def test_accuracy_of_what_are_no_classes(output, target):
    with pytest.raises(ValueError, match="accuracy needs scores"):
        train.accuracy(np.ones(output), np.zeros(target, int))


def test_metrics_have_names_of_their_own():
    def loss(output, target):
        return 0.0

    for metrics in ([loss], ["accuracy", "accuracy"], [lambda o, t: 1, lambda o, t: 2]):
        with pytest.raises(ValueError, match="metrics must have names of their own"):
            trainer(metrics=metrics)


def test_what_some_epochs_recorded():
    history = train.History()
    for record in ({"loss": 3.0}, {"loss": 2.0, "extra": 5}, {"loss": 1.0}):
        history.append(record)
    assert history["loss"] == [3, 2, 1] and history["extra"] == [5]


def test_an_empty_batch_counts_nothing():
    means = Means()
    means.add({"loss": 2.0}, 3)
    means.add({"loss": np.nan}, 0)
    assert means.result() == {"loss": 2.0}


def test_an_epoch_may_begin_with_an_empty_batch():
    x, y = points(8)
    history = trainer(metrics=()).fit([(x[:0], y[:0]), (x, y)], 1)
    assert len(history) == 1


def test_without_a_terminal_there_is_one_line_for_each_epoch(capsys):
    trainer(progress=True).fit(points(), 2, validation=points(), rng=0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ")
    assert "  val_accuracy " in lines[1]
    assert lines[1].endswith(" s")
    trainer(progress=False).fit(points(), 2, validation=points(), rng=0)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    progress = Progress(12, console)
    with progress.bar(3, 2) as show:
        show({"loss": 1.25})
        show({"loss": 1.0, "accuracy": 0.5})
    progress.line(3, {"epoch": 3, "loss": 1.0, "seconds": 0.25})
    text = screen.getvalue()
    assert "epoch  3/12" in text
    assert "2/2" in text
    assert "loss 1  accuracy 0.5" in text
    assert text.rstrip().endswith("epoch  3/12  loss 1  0.2 s")


def test_describe():
    record = {"epoch": 1, "loss": 0.123456, "accuracy": 0.98766, "seconds": 12.34}
    assert describe(record) == "loss 0.1235  accuracy 0.9877  12.3 s"
    assert describe({"loss": 1.0, "note": "best"}) == "loss 1  note best"


def test_generators():
    rng = np.random.default_rng(0)
    assert generator(rng) is rng
    assert generator(7).random() == np.random.default_rng(7).random()
    assert fc.manual_seed(1) is generator()


x, y = points(8)


def _with_loss(loss):
    t = trainer()
    return train.Trainer(t.model, loss, t.optimizer)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: trainer().fit((x, y[:5]), 1), ValueError, r"data must be two.*\(8, 8\), \(5,\)"),
        (lambda: trainer().fit((x, y, y), 1), ValueError, "data must be two arrays"),
        (lambda: trainer().fit((x, y.tolist()), 1), TypeError, "data must be two.*ndarray, list"),
        (lambda: trainer().fit((x[:0], y[:0]), 1), ValueError, "data holds no samples"),
        (lambda: trainer().fit(x, 1), TypeError, "data must be a pair of arrays"),
        (lambda: trainer().fit(iter([(x, y)]), 1), TypeError, "not an iterator"),
        (lambda: trainer().fit([], 1), ValueError, "data must be two arrays"),
        (lambda: trainer().fit((x, y), 1.5), TypeError, "epochs must be an int"),
        (lambda: trainer().fit((x, y), -1), ValueError, "epochs must be at least 0"),
        (lambda: trainer().fit((x, y), 1, batch_size=0), ValueError, "batch_size must be at least"),
        (lambda: trainer().fit((x, y), 1, validation=x), TypeError, "validation must be a pair"),
        (lambda: trainer().predict(x, 0), ValueError, "batch_size must be at least 1"),
        (lambda: trainer().evaluate(DataLoader((x[:0], y[:0]))), ValueError, "no samples"),
        (
            lambda: trainer(classes=1).fit((x, x[:, :1]), 1),
            ValueError,
            r"metrics=\(\) of a Trainer",
        ),
        (lambda: trainer(metrics=["f1"]), ValueError, "among accuracy; got 'f1'"),
        (lambda: trainer(metrics="accuracy"), TypeError, "metrics must be a list"),
        (lambda: trainer(metrics=None), TypeError, "metrics must be a list"),
        (lambda: trainer(metrics=[["accuracy"]]), ValueError, "among accuracy"),
        (lambda: trainer(callbacks=print), TypeError, "callbacks must be a list"),
        (lambda: trainer(callbacks=None), TypeError, "callbacks must be a list"),
        (lambda: trainer().fit((x, y), 1, rng="a"), TypeError, "rng must be a generator or a seed"),
        (lambda: trainer().fit((x, y), 1, rng=-1), ValueError, "rng must be a generator or a seed"),
        (lambda: fc.manual_seed(None), TypeError, "seed must be an int"),
        (lambda: fc.manual_seed(-1), ValueError, "seed must be at least 0"),
        (lambda: DataLoader((x, y), transform=3), TypeError, "transform must be callable"),
        (lambda: RandomShift()(x, generator(0)), ValueError, r"images must be \(N, C, H, W\)"),
        (
            lambda: _with_loss(lambda *_: 1.0).step(x, y),
            TypeError,
            "loss must give a Tensor with one element, got 1.0",
        ),
        (lambda: trainer(callbacks=[print, 3]), TypeError, r"callbacks\[1\] must be callable"),
        (
            lambda: trainer().fit([(x, y, y)], 1),
            ValueError,
            "pair .input, target.: too many values",
        ),
        (lambda: trainer().evaluate([3]), ValueError, "a batch must be a pair"),
        (
            lambda: trainer().fit((x.tolist(), y.tolist()), 1),
            TypeError,
            "data must be a pair of arrays, .* got a list of list",
        ),
        (lambda: trainer().fit(([[1, 2], [3, 4]], [0, 1]), 1), TypeError, "data must be a pair"),
        (lambda: trainer().fit((x, y), 1, shuffle="no"), TypeError, "shuffle must be a bool"),
        (lambda: trainer(progress="no"), TypeError, "progress must be a bool"),
        (
            lambda: train.Trainer(nn.Linear(8, 4), len, trainer().optimizer),
            ValueError,
            "optimizer must hold parameters of the model",
        ),
        (lambda: train.Trainer(None, len, None), TypeError, "model must be of type Module"),
        (
            lambda: train.Trainer(nn.ReLU(), len, None),
            TypeError,
            "optimizer must be of type Optimizer",
        ),
        (
            lambda: train.Trainer(nn.ReLU(), None, trainer().optimizer),
            TypeError,
            "loss must be callable",
        ),
    ],
)
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
