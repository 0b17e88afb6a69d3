"""Options of a call, a layer and a block: which of them holds, where, and what is refused."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import threading

import numpy as np
import pytest

import fastconv as fc
from fastconv import nn
from fastconv.conv import listening
from fastconv.conv.options import Request, request

X, W = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
DY = np.ones((1, 3, 3, 3), np.float32)

CALLS = {
    "conv2d": lambda **how: fc.conv2d(X, W, **how),
    "conv2d unbatched": lambda **how: fc.conv2d(X[0], W, **how),
    "conv1d": lambda **how: fc.conv1d(X[:, :, 0], W[:, :, 0], **how),
    "conv_transpose2d": lambda **how: fc.conv_transpose2d(DY, W, **how),
    "conv_transpose2d unbatched": lambda **how: fc.conv_transpose2d(DY[0], W, **how),
    "conv2d_input": lambda **how: fc.grad.conv2d_input(X.shape, W, DY, **how),
    "conv2d_input unbatched": lambda **how: fc.grad.conv2d_input(X.shape[1:], W, DY[0], **how),
    "conv2d_weight": lambda **how: fc.grad.conv2d_weight(X, W.shape, DY, **how),
}


@pytest.fixture
def seen():
    """The requests of the convolutions that have run."""
    seen = []
    with listening.told(lambda problem, asked, threads: seen.append(asked)):
        yield seen


KEYWORDS = [
    ({}, Request()),
    ({"algorithm": "reference"}, Request("reference")),
    ({"accuracy": "strict"}, Request(accuracy="strict")),
    ({"max_workspace": 10**12}, Request(max_workspace=10**12)),
    ({"max_workspace": np.int64(7 << 20)}, Request(max_workspace=7 << 20)),
    ({"algorithm": "im2col", "accuracy": "fast", "max_workspace": 10**9},
     Request("im2col", "fast", 10**9)),
]  # fmt: skip


@pytest.mark.parametrize(("keywords", "asked"), KEYWORDS)
@pytest.mark.parametrize("call", CALLS)
def test_every_function_takes_them(seen, call, keywords, asked):
    CALLS[call](**keywords)
    with fc.options(**keywords):
        CALLS[call]()
    CALLS[call]()
    assert seen == [asked, asked, Request()]


def test_a_layer_s_options_hold_for_all_passes(seen):
    how = {"algorithm": "im2col", "accuracy": "strict", "max_workspace": 10**9}
    layer = nn.Conv2d(2, 3, 3, **how)
    layer(fc.Tensor(X, requires_grad=True)).sum().backward()
    assert seen == [Request(**how)] * 3
    shown = "algorithm=im2col, accuracy=strict, max_workspace=1000000000"
    assert shown in repr(layer)
    assert "accuracy" not in repr(nn.Conv2d(2, 3, 3))


def test_inner_blocks_win_and_keep_the_rest():
    with fc.options(algorithm="im2col", accuracy="fast"):
        assert request() == Request("im2col", "fast")
        with fc.options(accuracy="strict", max_workspace=5):
            assert request() == Request("im2col", "strict", 5)
            assert request("direct", "default", 6) == Request("direct", "default", 6)
            assert request("auto") == Request("im2col", "strict", 5)
            assert request("direct") == Request("direct", "strict", 5)
            assert request(accuracy="fast") == Request("im2col", "fast", 5)
            assert request(max_workspace=6) == Request("im2col", "strict", 6)
            with fc.options(algorithm="auto"):
                assert request() == Request("auto", "strict", 5)
        assert request() == Request("im2col", "fast")
    assert request() == Request()


def test_a_block_ends_with_an_error():
    with pytest.raises(RuntimeError), fc.options(accuracy="fast", num_threads=1):
        assert fc.get_num_threads() == 1
        raise RuntimeError
    assert request() == Request()
    assert fc.get_num_threads() != 0


def test_threads_of_a_block():
    before = fc.get_num_threads()
    with fc.options(num_threads=1):
        assert fc.get_num_threads() == 1
    assert fc.get_num_threads() == before


def test_a_function_may_have_options():
    decorated = fc.options(num_threads=1, accuracy="fast")(
        lambda: (fc.get_num_threads(), request())
    )
    assert [decorated(), decorated()] == [(1, Request(accuracy="fast"))] * 2


def test_an_object_serves_for_many_blocks():
    fast = fc.options(accuracy="fast", num_threads=1)
    for _ in range(2):
        with fast, fc.options(accuracy="strict"), fast:
            assert (request(), fc.get_num_threads()) == (Request(accuracy="fast"), 1)
        assert request() == Request()


def test_blocks_of_generators_leave_nothing_behind():
    def suspended(**options):
        with fc.options(**options):
            yield

    before = fc.get_num_threads()
    first, second = suspended(accuracy="fast", num_threads=1), suspended(algorithm="direct")
    next(first)
    next(second)
    assert request() == Request("direct", "fast")
    first.close()
    assert (request(), fc.get_num_threads()) == (Request("direct"), before)
    second.close()
    assert (request(), fc.get_num_threads()) == (Request(), before)


def _generator():
    yield


async def _coroutine():
    pass


@pytest.mark.parametrize("decorate", [fc.options(accuracy="fast"), fc.no_grad, fc.enable_grad()])
@pytest.mark.parametrize(
    "function",
    [_generator, _coroutine, functools.partial(_generator), int],
    ids=["generator", "coroutine", "partial", "class"],
)
def test_what_runs_after_its_call_is_not_decorated(decorate, function):
    with pytest.raises(TypeError, match=r"use with inside of it|only functions can be decorated"):
        decorate(function)


def test_a_block_that_ends_inside_another_leaves_it_alone():
    def suspended():
        with fc.options(accuracy="fast"), fc.options(num_threads=1):
            yield

    here, elsewhere = suspended(), suspended()
    next(here)
    contextvars.copy_context().run(next, elsewhere)
    with fc.options(accuracy="strict"):
        here.close()
        elsewhere.close()
        assert request() == Request(accuracy="strict")
    assert request() == Request()


def test_a_block_is_of_one_python_thread():
    seen = []
    with fc.options(accuracy="fast"):
        other = threading.Thread(target=lambda: seen.append(request()))
        other.start()
        other.join()
    assert seen == [Request()]


def test_a_block_is_of_one_task():
    async def task(accuracy):
        with fc.options(accuracy=accuracy):
            await asyncio.sleep(0)
            return request().accuracy

    async def main():
        return await asyncio.gather(*map(task, ("strict", "fast", "default")))

    assert asyncio.run(main()) == ["strict", "fast", "default"]


WRONG = {
    "algorithm": ([("", ValueError), ("Direct", ValueError)], [b"direct", 3, ["direct"]]),
    "accuracy": ([("exact", ValueError), ("", ValueError)], [1e-3, True, b"fast", ("fast",)]),
    "max_workspace": (
        [(-1, ValueError), (2**63, ValueError)],
        [1.0, math.inf, "1", True, (1,), np.float32(1)],
    ),
    "num_threads": ([(0, ValueError), (2**40, ValueError)], [1.0, "1", True]),
}
CASES = [
    pytest.param(name, value, error, id=f"{name}-{value!r}")
    for name, (values, types) in WRONG.items()
    for value, error in [*values, *((value, TypeError) for value in types)]
]


@pytest.mark.parametrize(("name", "value", "error"), CASES)
def test_wrong_values(fences, name, value, error):
    with pytest.raises(error, match=f"{name} must be"):
        fc.options(**{name: value})
    assert request() == Request()
    if name == "num_threads":  # which is no keyword of a call
        return
    for call in CALLS.values():
        with pytest.raises(error, match=f"{name} must be"):
            call(**{name: value})
    with pytest.raises(error, match=f"{name} must be"):
        nn.Conv2d(2, 3, 3, **{name: value})
    assert fences.allocations == 0


def test_options_are_keywords():
    with pytest.raises(TypeError):
        fc.options("fast")
