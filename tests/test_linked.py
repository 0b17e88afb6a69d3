"""Helpers that only kernels call: linked into them, and compiled once for a type."""

from __future__ import annotations

import re

import numpy as np
import pytest
from processes import run

from fastconv.core.jit import inner, kernel, record, words
from fastconv.core.threads import launch

PAIR = record("low high")
LAYOUT = record("result", pair=PAIR)


def _run(made, *values: int) -> np.ndarray:
    """The record after a kernel ran on it."""
    args = np.array(values, np.int64)
    launch(made, args.ctypes.data, 1)
    return args


def test_a_helper_is_compiled_once_for_all_integers():
    @inner
    def shifted(value, by):
        return value + by

    @kernel(LAYOUT)
    def use(worker, a):
        a.result = shifted(1, 2) * 100 + shifted(a.pair.low, 5)

    assert _run(use, 0, 3, 0)[0] == 308
    assert [[str(kind) for kind in kinds] for kinds in shifted.overloads] == [["int64", "int64"]]


def test_sizes_stay_known_to_the_compiler():
    @inner
    def sized(vector, value):
        return vector * value

    @kernel(LAYOUT)
    def use(worker, a):
        a.result = sized(4, a.pair.low) + sized(6, a.pair.low)

    assert _run(use, 0, 3, 0)[0] == 30
    assert sorted(kinds[0].literal_value for kinds in sized.overloads) == [4, 6]


def test_a_helper_has_no_machine_code_of_its_own_and_its_kernel_has():
    @inner
    def negative(value):
        return -value

    @inner
    def through(value):
        return negative(value)

    @kernel(LAYOUT)
    def use(worker, a):
        a.result = through(a.pair.low)

    assert _run(use, 0, 3, 0)[0] == -3
    (seen,) = re.findall(r"^\s*\.globl\s+(\w+)", use.inspect_asm(), re.MULTILINE)
    assert seen.startswith("use_")
    (lowered,) = through.overloads.values()
    assert len(list(lowered.library.texts())) == 2  # its own, and that of what it calls


def test_parts_of_different_records_are_of_one_type():
    other = record("first second", pair=PAIR)

    @inner
    def width(pair):
        pair.low += 1
        return pair.high - pair.low

    @kernel(LAYOUT)
    def one(worker, a):
        a.result = width(a.pair)

    @kernel(other)
    def two(worker, a):
        a.second = width(a.pair)

    assert _run(one, 0, 5, 9).tolist() == [3, 6, 9]
    assert _run(two, 0, 0, 5, 9).tolist() == [0, 3, 6, 9]
    assert len(width.overloads) == 1
    assert words(other) == ["first", "second", "low", "high"]


OVERLOADED = """
    import operator, sys
    import numpy as np
    import fastconv as fc
    from numba import types
    from numba.extending import overload

    x, w = np.ones((1, 8, 8, 8), "f4"), np.ones((8, 8, 3, 3), "f4")
    fc.conv2d(x, w, algorithm="direct")

    class Other(types.Type):
        pass

    @overload({"min": min, "range": range, "add": operator.add}[sys.argv[1]])
    def overloaded(a, b=None):
        if isinstance(a, Other):
            return lambda a, b=None: a

    print((fc.conv2d(x, w, algorithm="im2col") == 72).all())
"""


@pytest.mark.parametrize("name", ["min", "range", "add"])
def test_others_may_overload_what_kernels_use(name, tmp_path):
    """numba then has another function of that name, which knows nothing of calls before."""
    assert run(OVERLOADED, name, FASTCONV_CACHE_DIR=str(tmp_path)) == "True"
