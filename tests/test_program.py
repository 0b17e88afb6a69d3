"""Programs: what is settled once, what a call fills in, and what they keep alive."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import fastconv as fc
from fastconv.core.jit import kernel, record
from fastconv.core.program import SCRATCH, Program, Programs, Words, operands
from fastconv.core.stage import Stage
from fastconv.simd.copying import get_word, put_word


def _adding_kernel():
    @kernel(record("counter source number table target"))
    def add(worker, a):
        total = get_word(a.source) + a.number + get_word(a.table) + get_word(a.counter)
        put_word(a.target, get_word(a.target) + total)

    return add


def _words(*numbers):
    return np.array(numbers, np.int64)


def test_addresses_are_those_of_each_call():
    stage, at = Stage(_adding_kernel(), 1, number=5), operands()
    program = Program([stage.call(source=at.first + 8, table=_words(100), target=at.out)])
    for source, result in ((_words(0, 10), 116), (_words(0, 20), 126)):
        target = _words(0)
        program.run(0, source, None, target, None)
        assert target == result  # one worker counts 1


def test_parts_have_operands_of_their_own():
    stage = Stage(_adding_kernel(), 1, number=0)
    calls = [
        stage.call(source=operands(part).first, table=_words(0), target=operands(part).out)
        for part in range(2)
    ]
    targets = _words(0), _words(0)
    arrays = [_words(10), None, targets[0], None, _words(20), None, targets[1], None]
    Program(calls).run(0, *arrays)
    assert targets == (11, 21)


def test_words_point_to_words():
    """Wherever a call puts them; those of one call never reach the next."""
    stage, flags = Stage(_adding_kernel(), 1, number=1), Words([0, 0])
    inner = Words([0])
    inner.put(0, 30)
    first = stage.call(source=inner, table=_words(2), target=flags)
    second = stage.call(source=flags, table=inner, target=operands().out)
    program = Program([first, second], flags)
    for _ in range(2):
        target = _words(0)
        assert list(program.run(0, None, None, target, None)) == [34, 0]
        assert target == 34 + 1 + 30 + 1


def test_a_number_replaces_an_address():
    words = Words([0, 0])
    words.put(1, SCRATCH)
    words.put(1, 7)
    assert words.numbers[1] == 7 and not words.addresses


def test_a_word_that_the_kernel_does_not_have():
    with pytest.raises(KeyError, match="sauce"):
        Stage(_adding_kernel(), 1).call(sauce=1)


def test_a_call_without_an_array():
    stage, at = Stage(_adding_kernel(), 1, number=0), operands()
    program = Program([stage.call(source=at.first, table=_words(0), target=at.out)])
    with pytest.raises(AssertionError, match="all arrays"):
        program.run(0, _words(1), None)


def test_tables_live_as_long_as_the_program():
    table = _words(100)
    alive = weakref.ref(table)
    stage, at = Stage(_adding_kernel(), 1, number=0), operands()
    program = Program([stage.call(source=at.first, table=table, target=at.out)])
    del table
    gc.collect()
    assert alive() is not None
    del program
    gc.collect()
    assert alive() is None


def test_one_program_for_each_key_in_scratch_of_its_own():
    stage, made = Stage(_adding_kernel(), 1, table=_words(0)), []
    programs = Programs(8)

    def make(number):
        made.append(number)
        call = stage.call(source=SCRATCH, number=number, target=operands().out)
        return Program([Stage(_clearing_kernel(), 1).call(target=SCRATCH), call])

    for number in (3, 4, 3, 4):
        target = _words(0)
        programs.run(number, lambda number=number: make(number), None, None, target)
        assert target == number + 1
    assert made == [3, 4]


def _clearing_kernel():
    @kernel(record("target"))
    def clear(worker, a):
        put_word(a.target, 0)

    return clear


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd", "bf16x3", "fft"])
def test_arrays_of_the_same_strides_do_not_plan_again(algorithm, monkeypatch):
    """Only what a call brings may differ: the arrays, a bias, a ReLU make programs of their own."""
    x, w = np.ones((2, 32, 12, 12), np.float32), np.ones((48, 32, 3, 3), np.float32)
    b = np.ones(48, np.float32)
    try:
        first = fc.conv2d(x, w, b, padding=1, algorithm=algorithm)
    except ValueError as error:
        pytest.skip(str(error))
    for bias, activation in ((None, None), (b, "relu")):
        fc.conv2d(x, w, bias, padding=1, algorithm=algorithm, activation=activation)
    monkeypatch.setattr(Stage, "call", None)
    results = [fc.conv2d(x.copy(), w.copy(), b.copy(), padding=1, algorithm=algorithm)]
    results.append(fc.conv2d(x, w, padding=1, algorithm=algorithm) + 1)
    results.append(fc.conv2d(x, w, b, padding=1, algorithm=algorithm, activation="relu"))
    for y in results:
        np.testing.assert_allclose(y, first, rtol=1e-5)
    with pytest.raises(TypeError):
        fc.conv2d(x[:, :, ::-1], w, padding=1, algorithm=algorithm)


def test_programs_are_bounded():
    stage, made = Stage(_clearing_kernel(), 1), []
    programs = Programs(8)

    def make():
        made.append(1)
        return Program([stage.call(target=SCRATCH)])

    for key in range(200):
        for _ in range(2):
            programs.run(key, make)
        assert len(programs._made) <= 64
    assert len(made) == 200
