"""Bad arguments: an error that names the argument, before any memory is allocated."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

import fastconv as fc
from fastconv.conv import functions


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


# Of each public function: a call that works, as keywords.
CALLS = {
    "conv2d": (fc.conv2d, {"input": ones(2, 4, 6, 5), "weight": ones(6, 4, 3, 3)}),
    "conv1d": (fc.conv1d, {"input": ones(2, 4, 7), "weight": ones(6, 4, 3)}),
    "transpose": (fc.conv_transpose2d, {"input": ones(2, 6, 4, 3), "weight": ones(6, 4, 3, 3)}),
    "grad_input": (
        fc.grad.conv2d_input,
        {
            "input_size": (2, 4, 6, 5),
            "weight": ones(6, 4, 3, 3),
            "grad_output": ones(2, 6, 4, 3),
        },
    ),
    "grad_weight": (
        fc.grad.conv2d_weight,
        {
            "input": ones(2, 4, 6, 5),
            "weight_size": (6, 4, 3, 3),
            "grad_output": ones(2, 6, 4, 3),
        },
    ),
}

# Wrong whatever the function: argument, values that give a ValueError, and a TypeError.
SCALARS = {
    "stride": ([0, -1, (), 2**31, 2**70], [1.0, 1.5, math.nan, True, "2", None, {}, np.float32(1)]),
    "dilation": ([0, -2, (), 2**31], [1.0, math.inf, math.nan, False, "2", None]),
    "padding": ([-1, (), 2**31], [1.0, math.nan, True, None]),
    "groups": ([0, -1, 5], [1.0, math.nan, True, "1", None, (1,)]),
    "algorithm": (["fastest", "", "Direct"], [["direct"], None, 3, np.array(["direct", "fft"])]),
}
PAIRS = {  # of the functions of two dimensions
    "stride": ([(0, 1), (1, 0), (1, 1, 1), (1,)], [(1.0, 1), (1, True), (1, "1"), ((1, 1), 1)]),
    "dilation": ([(0, 1), (1, -1), [1, 1, 1]], [(1, 2.0), (None, 1)]),
    "padding": ([(-1, 0), (1,), (1, 1, 1, 1)], [(0, 1.0), (True, 0)]),
}


def _wrong(calls, table):
    for call in calls:
        for argument, values in table.items():
            for error, wrong in zip((ValueError, TypeError), values, strict=True):
                for value in wrong:
                    yield pytest.param(
                        call, argument, value, error, id=f"{call}-{argument}-{value!r}"
                    )


FLAT = [*_wrong(CALLS, SCALARS), *_wrong([c for c in CALLS if c != "conv1d"], PAIRS)]


class Unshared:
    """An array of a library that does not share it."""

    def __dlpack__(self, **how):
        raise BufferError("it requires a gradient")

    def __dlpack_device__(self):
        return (1, 0)


def test_arrays_that_others_do_not_share():
    message = "input cannot be shared as a NumPy array: it requires a gradient"
    with pytest.raises(TypeError, match=message):
        fc.conv2d(Unshared(), W)
    with pytest.raises(TypeError, match="array cannot be shared"):
        fc.Tensor(Unshared())


def test_lazy_negations():
    """NumPy takes their memory as it is."""

    class Negated(Unshared):
        def is_neg(self):
            return True

    with pytest.raises(TypeError, match="input is a lazy negation"):
        fc.conv2d(Negated(), W)


def test_masked_array():
    with pytest.raises(TypeError, match="input must be a plain array"):
        fc.conv2d(np.ma.masked_less(X, 0), W)


@pytest.mark.parametrize(("call", "argument", "value", "error"), FLAT)
def test_arguments_that_are_no_arrays(call, argument, value, error, fences):
    function, good = CALLS[call]
    with pytest.raises(error, match=rf"\b{argument}\b"):
        function(**good, **{argument: value})
    assert fences.allocations == 0


X, W, DY = ones(2, 4, 6, 5), ones(6, 4, 3, 3), ones(2, 6, 4, 3)

# function, changed arguments, error, what the message must contain
TABLE = [
    # ranks
    ("conv2d", {"input": X[0, 0]}, ValueError, "input must have 3 or 4 dimensions"),
    ("conv2d", {"input": X[None]}, ValueError, "(1, 2, 4, 6, 5)"),
    ("conv2d", {"weight": W[0]}, ValueError, "weight must have 4 dimensions"),
    ("conv2d", {"bias": ones(6, 1)}, ValueError, "bias must have 1 dimensions"),
    ("conv1d", {"input": X}, ValueError, "input must have 2 or 3 dimensions"),
    ("conv1d", {"weight": W}, ValueError, "weight must have 3 dimensions"),
    ("transpose", {"input": DY[0, 0]}, ValueError, "input must have 3 or 4 dimensions"),
    ("grad_input", {"grad_output": DY[0]}, ValueError, "grad_output must have 4 dimensions"),
    ("grad_input", {"input_size": (6, 5)}, ValueError, "input_size must have 3 or 4 entries"),
    ("grad_weight", {"grad_output": DY[0]}, ValueError, "grad_output must have 4 dimensions"),
    ("grad_weight", {"weight_size": (4, 3, 3)}, ValueError, "weight_size must have 4 entries"),
    # dtypes and containers
    ("conv2d", {"input": X.astype(np.float16)}, TypeError, "input must be float32 or float64"),
    ("conv2d", {"input": X.astype(np.int32)}, TypeError, "int32"),
    ("conv2d", {"input": X.astype(complex)}, TypeError, "complex128"),
    ("conv2d", {"input": X.astype(object)}, TypeError, "object"),
    ("conv2d", {"input": X.tolist()}, TypeError, "input must be a NumPy array, got list"),
    ("conv2d", {"input": None}, TypeError, "input must be a NumPy array, got NoneType"),
    ("conv2d", {"weight": 3.0}, TypeError, "weight must be a NumPy array, got float"),
    ("conv2d", {"bias": [0.0] * 6}, TypeError, "bias must be a NumPy array"),
    ("conv2d", {"weight": W.astype(float)}, TypeError, "input and weight must have the same dtype"),
    ("conv2d", {"bias": ones(6, dtype=float)}, TypeError, "input and bias must have the same"),
    ("conv1d", {"weight": ones(6, 4, 3, dtype=float)}, TypeError, "the same dtype"),
    ("transpose", {"weight": W.astype(float)}, TypeError, "input and weight must have the same"),
    ("transpose", {"bias": ones(4, dtype=float)}, TypeError, "the same dtype"),
    ("grad_input", {"weight": W.astype(float)}, TypeError, "grad_output and weight must have"),
    ("grad_weight", {"grad_output": DY.astype(float)}, TypeError, "input and grad_output must"),
    # channels and groups
    ("conv2d", {"weight": W[:, :3]}, ValueError, "input has 4 channels but weight expects 3"),
    ("conv2d", {"weight": W[:, :3]}, ValueError, "input (2, 4, 6, 5), weight (6, 3, 3, 3)"),
    ("conv2d", {"groups": 2}, ValueError, "input has 4 channels but weight expects 8"),
    ("conv2d", {"groups": 4, "weight": W[:, :1]}, ValueError, "groups must divide"),
    ("conv2d", {"bias": ones(5)}, ValueError, "bias must have shape (6,), got (5,)"),
    ("transpose", {"input": DY[:, :5]}, ValueError, "input has 5 channels but weight expects 6"),
    ("transpose", {"bias": ones(6)}, ValueError, "bias must have shape (4,), got (6,)"),
    ("transpose", {"groups": 4}, ValueError, "groups must divide"),
    ("grad_input", {"input_size": (2, 3, 6, 5)}, ValueError, "input has 3 channels but weight"),
    ("grad_weight", {"weight_size": (6, 3, 3, 3)}, ValueError, "input has 4 channels but weight"),
    # sizes
    ("conv2d", {"weight": ones(6, 4, 7, 3)}, ValueError, "kernel is larger than the padded input"),
    ("conv2d", {"dilation": (1, 3)}, ValueError, "kernel is larger than the padded input"),
    ("conv2d", {"input": X[:, :0], "weight": W[:, :0]}, ValueError, "only the batch may be empty"),
    ("conv2d", {"weight": W[:0]}, ValueError, "only the batch may be empty"),
    ("conv2d", {"weight": W[:, :, :0]}, ValueError, "only the batch may be empty"),
    ("conv2d", {"input": X[:, :, :0], "padding": 2}, ValueError, "only the batch may be empty"),
    ("conv2d", {"input": X[..., :0], "padding": 2}, ValueError, "only the batch may be empty"),
    ("conv1d", {"weight": ones(6, 4, 8)}, ValueError, "kernel is larger than the padded input"),
    ("transpose", {"input": DY[:, :, :0]}, ValueError, "only the batch may be empty"),
    ("transpose", {"padding": 9}, ValueError, "padding (9, 9) leaves no output"),
    ("grad_input", {"grad_output": ones(2, 6, 4, 4)}, ValueError, "grad_output must have shape"),
    ("grad_input", {"grad_output": ones(2, 6, 4, 4)}, ValueError, "(2, 6, 4, 3), got (2, 6, 4, 4)"),
    ("grad_input", {"grad_output": ones(1, 6, 4, 3)}, ValueError, "grad_output must have shape"),
    ("grad_input", {"stride": 2}, ValueError, "(2, 6, 2, 2), got (2, 6, 4, 3)"),
    ("grad_weight", {"grad_output": ones(2, 5, 4, 3)}, ValueError, "grad_output must have shape"),
    ("grad_weight", {"weight_size": (6, 4, 9, 3)}, ValueError, "kernel is larger than the padded"),
    # sizes as arguments
    ("grad_input", {"input_size": 4}, TypeError, "input_size must be a sequence of ints"),
    ("grad_input", {"input_size": "2465"}, TypeError, "input_size must be a sequence of ints"),
    (
        "grad_input",
        {"input_size": {2, 4, 6, 5}},
        TypeError,
        "input_size must be a sequence of ints",
    ),
    ("grad_input", {"input_size": list}, TypeError, "input_size must be a sequence of ints"),
    ("grad_input", {"input_size": np.ones((4, 4))}, TypeError, "input_size must be a sequence of"),
    ("grad_input", {"input_size": (2, 4, 6.0, 5)}, TypeError, "input_size must be an int"),
    ("grad_input", {"input_size": (2, 4, -6, 5)}, ValueError, "input_size must be at least 0"),
    ("grad_input", {"input_size": (2, 4, True, 5)}, TypeError, "input_size must be an int"),
    ("grad_input", {"input_size": (2**20, 4, 2**20, 2**30)}, ValueError, "too large"),
    ("grad_weight", {"weight_size": None}, TypeError, "weight_size must be a sequence of ints"),
    ("grad_weight", {"weight_size": (6, 4, 3, math.nan)}, TypeError, "weight_size must be an int"),
    # paddings by name
    ("conv2d", {"padding": "full"}, ValueError, "padding must be ints, 'same' or 'valid'"),
    ("conv2d", {"padding": "same", "stride": 2}, ValueError, "padding='same' needs stride 1"),
    ("conv1d", {"padding": "same", "stride": 2}, ValueError, "padding='same' needs stride 1"),
    ("conv1d", {"padding": (1, 1)}, ValueError, "padding must be an int or a sequence of one"),
    ("conv1d", {"stride": (1, 1)}, ValueError, "stride must be an int or a sequence of one"),
    ("transpose", {"padding": "same"}, TypeError, "padding of a transposed convolution"),
    # sizes that overflow
    ("conv2d", {"padding": 2**31 - 1}, ValueError, "too large to address"),
    ("transpose", {"stride": 2**31 - 1}, ValueError, "too large to address"),
    ("transpose", {"dilation": 2**31 - 1}, ValueError, "too large to address"),
    # output_padding
    ("transpose", {"output_padding": 1}, ValueError, "output_padding must be smaller than stride"),
    ("transpose", {"output_padding": (1, 2), "stride": 2}, ValueError, "(1, 2) with stride (2, 2)"),
    ("transpose", {"output_padding": -1}, ValueError, "output_padding must be at least 0"),
    ("transpose", {"output_padding": 0.0}, TypeError, "output_padding must be an int"),
    ("transpose", {"output_padding": True}, TypeError, "output_padding must be an int"),
    # activations
    ("conv2d", {"activation": "tanh"}, ValueError, "activation must be None or 'relu', got 'tanh'"),
    ("conv2d", {"activation": ones(2)}, ValueError, "activation must be None or 'relu'"),
    ("conv1d", {"activation": True}, ValueError, "activation must be None or 'relu', got True"),
    ("transpose", {"activation": "ReLU"}, ValueError, "activation must be None or 'relu'"),
]


@pytest.mark.parametrize(
    ("call", "changes", "error", "message"),
    TABLE,
    ids=[f"{call}-{'-'.join(changes)}-{i}" for i, (call, changes, *_) in enumerate(TABLE)],
)
def test_arguments(call, changes, error, message, fences):
    function, good = CALLS[call]
    with pytest.raises(error, match=re.escape(message)):
        function(**good | changes)
    assert fences.allocations == 0


@pytest.mark.parametrize("call", CALLS)
def test_the_calls_themselves_are_good(call):
    function, good = CALLS[call]
    assert np.isfinite(function(**good)).all()


@pytest.mark.parametrize("call", CALLS)
def test_numpy_integers_are_integers(call):
    function, good = CALLS[call]
    numbers = {"stride": np.int64(1), "padding": np.int32(0), "dilation": np.uint8(1)}
    plain = function(**good)
    np.testing.assert_array_equal(function(**good, **numbers, groups=np.int16(1)), plain)
    if call != "conv1d":
        pairs = {"stride": [np.int64(1), 1], "padding": (0, np.int32(0))}
        np.testing.assert_array_equal(function(**good, **pairs), plain)


def test_sizes_may_be_numpy_integers_or_lists():
    function, good = CALLS["grad_input"]
    plain = function(**good)
    for size in ([2, 4, 6, 5], np.array([2, 4, 6, 5]), tuple(map(np.int32, (2, 4, 6, 5)))):
        np.testing.assert_array_equal(function(**good | {"input_size": size}), plain)


def test_refused_algorithm_gives_its_reason():
    with pytest.raises(ValueError, match="'depthwise' cannot run this convolution: "):
        fc.conv2d(X, W, algorithm="depthwise")


def test_unknown_algorithm_lists_the_known():
    with pytest.raises(ValueError, match=", ".join(fc.algorithms())):
        fc.conv2d(X, W, algorithm="fastest")


def test_a_result_that_memory_cannot_hold_is_not_planned(monkeypatch):
    def refuse(shape, dtype):
        raise MemoryError(f"{shape} {dtype}")

    monkeypatch.setattr(functions, "_MANY", 100)
    monkeypatch.setattr(functions, "np", SimpleNamespace(empty=refuse))
    monkeypatch.setattr(functions, "plan_for", None)
    with pytest.raises(MemoryError, match=r"\(2, 6, 5, 5\) float32"):
        fc.conv2d(ones(2, 4, 5, 5), ones(6, 4, 1, 1))
