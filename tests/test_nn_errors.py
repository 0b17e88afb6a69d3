"""Bad input to layers and functions: one line of the table each."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv as fc
import fastconv.nn.functional as F
from fastconv import nn

ones = np.ones


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: nn.Conv2d(0, 1, 3), ValueError, "in_channels must be at least 1"),
        (lambda: nn.Conv2d(1, 2.0, 3), TypeError, "out_channels must be an int"),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), ValueError, "kernel_size must be an int or 2 ints"),
        (lambda: nn.Conv2d(1, 1, 3, stride=0), ValueError, "stride must be at least 1"),
        (lambda: nn.Conv2d(1, 1, 3, padding=-1), ValueError, "padding must be at least 0"),
        (lambda: nn.Conv2d(1, 1, 3, padding="full"), ValueError, "padding must be ints, 'same'"),
        (lambda: nn.Conv2d(1, 1, 3, 2, padding="same"), ValueError, "needs stride 1"),
        (lambda: nn.Conv2d(4, 6, 3, groups=3), ValueError, "groups must divide in_channels 4"),
        (lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), ValueError, "padding_mode must be"),
        (lambda: nn.Conv2d(1, 1, 3, algorithm="magic"), ValueError, "algorithm must be"),
        (lambda: nn.Conv2d(1, 1, 3, dtype=np.int32), TypeError, "dtype must be float32 or"),
        (lambda: nn.Conv2d(1, 1, 3, dtype=None), TypeError, "dtype must be float32 or"),
        (lambda: nn.Linear(1, 1, dtype="text"), TypeError, "dtype must be float32 .* got 'text'"),
        (lambda: nn.Linear(1, 1, rng="a"), TypeError, "rng must be a generator or a seed"),
        (lambda: nn.Conv2d(3, 1, 3)(ones((1, 2, 5, 5), "f4")), ValueError, "2 channels"),
        (lambda: nn.Conv2d(1, 1, 3)(ones((1, 1, 5, 5))), TypeError, "same dtype"),
        (
            lambda: nn.Conv2d(1, 1, 3, padding=4, padding_mode="reflect")(ones((1, 1, 4, 4), "f4")),
            ValueError,
            r"reflect padding of \(4, 4\)",
        ),
        (lambda: nn.Linear(0, 1), ValueError, "in_features must be at least 1"),
        (
            lambda: nn.Linear(2, 3)(ones((1, 4), "f4")),
            ValueError,
            r"\(3, 2\), got \(1, 4\)",
        ),
        (lambda: nn.Linear(2, 3)(ones((1, 2))), TypeError, "float64 and float32"),
        (lambda: F.linear(ones(2), ones(2)), ValueError, "weight must have 2 dimensions"),
        (
            lambda: F.linear(ones(2), ones((3, 2)), ones(2)),
            ValueError,
            r"bias must have",
        ),
        (lambda: F.linear(ones(2, int), ones((3, 2))), TypeError, "input must be float32"),
        (lambda: nn.Sequential(lambda x: x), TypeError, "module '0' must be a Module"),
        (lambda: nn.Sequential({"a.b": nn.ReLU()}), ValueError, "'a.b' cannot name"),
        (lambda: nn.Sequential({"forward": nn.ReLU()}), ValueError, "'forward' cannot name"),
        (lambda: nn.Module().register_buffer(3, ones(1)), TypeError, "name of a buffer must be a"),
        (lambda: nn.Module().register_buffer("a", 1.0, "no"), TypeError, "persistent must be a"),
        (lambda: nn.ReLU().train("yes"), TypeError, "mode must be a bool, got 'yes'"),
        (lambda: F.pad(ones(3), (1,)), ValueError, "pad must be pairs"),
        (lambda: F.pad(ones(3), (1, 1, 1, 1)), ValueError, "at most 1 axes"),
        (lambda: F.pad(ones(3), (1, -1), "reflect"), ValueError, "pad must be at least 0"),
        (lambda: F.pad(ones(3), (-4, 5)), ValueError, r"pad \(-4, 5\) takes more than the 3"),
        (lambda: F.pad(ones(3), (-2, -2)), ValueError, "takes more than the 3 elements"),
        (lambda: F.pad(ones(3), (1, 1), "reflect", 0.5), ValueError, "0.5 needs mode 'constant'"),
        (lambda: F.pad(ones(3, "f4"), (1, 1), value=1e300), ValueError, "value must fit .*float32"),
        (lambda: F.pad(ones(3, "u1"), (1, 1), value=300), ValueError, "value must fit .*uint8"),
        (lambda: F.pad(ones(3, "u1"), (1, 1), value=-1), ValueError, "value must fit .* got -1"),
        (lambda: F.pad(ones(3, int), (1, 1), value=2**63), ValueError, "value must fit .*int64"),
        (lambda: F.pad(ones(3, bool), (1, 1), value=2), ValueError, "value must fit .*bool"),
        (lambda: F.pad(ones(3), (1, 1), 3), TypeError, "mode must be a string, got 3"),
        (lambda: F.pad(ones(3), (1, 1), "mirror"), ValueError, "mode must be one of"),
        (lambda: F.pad(ones(3), (0, 4), "circular"), ValueError, "the 3 elements"),
        (lambda: F.cross_entropy(ones((2, 3)), np.array([0, 3])), ValueError, "got class 3"),
        (lambda: F.cross_entropy(ones((2, 3)), np.array([0, -1])), ValueError, "got class -1"),
        (
            lambda: F.cross_entropy(ones((2, 3)), np.array([0])),
            ValueError,
            r"shape \(2,\)",
        ),
        (
            lambda: F.cross_entropy(ones((2, 3)), ones((2, 4))),
            ValueError,
            r"\(2, 3\), got \(2, 4\)",
        ),
        (lambda: F.cross_entropy(ones((2, 3)), ones((2, 3), "f4")), TypeError, "same dtype"),
        (lambda: F.cross_entropy(ones((2, 3)), ones(2, bool)), TypeError, "target must hold"),
        (lambda: F.cross_entropy(ones((2, 3)), [0, 1]), TypeError, "target must be a Tensor or"),
        (
            lambda: F.cross_entropy(ones((2, 3)), fc.Tensor(ones((2, 3)), requires_grad=True)),
            ValueError,
            "target must not require a gradient",
        ),
        (
            lambda: F.cross_entropy(ones((2, 3)), ones((2, 3)), ignore_index=1),
            ValueError,
            "needs a target of class indices",
        ),
        (
            lambda: F.cross_entropy(ones((2, 3)), np.array([0, 1]), ones(2)),
            ValueError,
            r"weight must have shape \(3,\), got \(2,\)",
        ),
        (
            lambda: F.cross_entropy(ones((2, 3)), np.array([0, 1]), reduction="max"),
            ValueError,
            "reduction must be one of",
        ),
        (lambda: nn.CrossEntropyLoss(reduction="max"), ValueError, "reduction must be one of"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), ValueError, "label_smoothing must be"),
        (lambda: nn.CrossEntropyLoss(ignore_index="0"), TypeError, "ignore_index must be an int"),
        (lambda: nn.CrossEntropyLoss(None, 1), TypeError, "positional"),
        (lambda: F.cross_entropy(ones((2, 3)), np.array([0, 1]), None, 1), TypeError, "positional"),
        (
            lambda: F.cross_entropy(ones((2, 3)), np.array([0, 1]), label_smoothing=2),
            ValueError,
            "label_smoothing must be",
        ),
        (
            lambda: F.cross_entropy(ones((2, 3)), np.array([0, 1]), ignore_index="0"),
            TypeError,
            "ignore_index must be an int",
        ),
        (lambda: F.softmax(ones((2, 3)), 2), ValueError, r"dim must be an axis of shape \(2, 3\)"),
        (lambda: F.log_softmax(ones(2), -2), ValueError, "dim must be an axis"),
        (lambda: F.softmax(ones(2), 0.0), TypeError, "dim must be an int"),
        (lambda: F.softmax(ones(2, int), 0), TypeError, "input must be float32 .* got int64"),
        (lambda: F.log_softmax(ones(2, bool), 0), TypeError, "input must be .* got bool"),
        (lambda: F.softmax(ones(2, np.float16), 0), TypeError, "float16"),
        (
            lambda: nn.Linear(2, 3).load_state_dict({"weight": ones((3, 2), "f4"), "bias": None}),
            TypeError,
            "bias must hold real numbers",
        ),
        (lambda: F.cross_entropy(ones((2, 3), int), np.array([0, 1])), TypeError, "input must be"),
        (lambda: F.cross_entropy(np.float64(1), np.array(0)), TypeError, "input must be a Tensor"),
        (lambda: nn.init.kaiming_uniform_(nn.Parameter(ones(3))), ValueError, "2 dimensions"),
        (lambda: nn.init.kaiming_uniform_(nn.Buffer(ones((2, 2), int))), TypeError, "tensor must"),
        (lambda: nn.init.uniform_(nn.Buffer(ones(2, bool))), TypeError, "tensor must be float32"),
        (lambda: nn.init.uniform_(ones(2)), TypeError, "tensor must be a Tensor, got ndarray"),
        (lambda: nn.init.uniform_(fc.Tensor(ones(2)), 1, 0), ValueError, "a=1 and b=0"),
    ],
)
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
