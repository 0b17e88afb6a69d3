"""Products on the matrix unit: float32 operands as sums of two bfloat16.

    x = x₁ + x₂ + ε,  |ε| ≤ 2⁻¹⁷·|x|        x·w ≈ x₁·w₁ + x₂·w₁ + x₁·w₂

The unit (Intel's AMX) holds eight tiles of 16 rows × 64 bytes.  One instruction adds the product
of 16 rows × 32 bfloat16 and 16 pairs of rows × 16 columns to a tile of 16 × 16 float32: it does
in 16 cycles what the vector units do in 128, so three products are cheaper than one of theirs.

Operands lie in memory as two halves: what was rounded to bfloat16, and ``low`` bytes behind it the
rounded rest.  Source: G. Henry, P. Tang and A. Heinecke, "Leveraging the bfloat16 Artificial
Intelligence Datatype For Higher-Precision Computations", 2019.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .strided import write
from .vector import I32, I64, Vectors, i64, literal, outlined

TILE_ROWS = 16  # of a tile
DEPTH = 32  # terms of a sum that one instruction adds up
LANES = 16  # results in a row of a tile
TILE_BYTES = 1024
TINY = 2.0**-60  # the unit takes numbers below 2⁻¹²⁶ for 0, so results ought to be larger than this

_I8, _I16 = ir.IntType(8), ir.IntType(16)
_BYTES = _I8.as_pointer()


def _shape() -> np.ndarray:
    """The configuration of the unit: palette 1, eight tiles of 16 rows × 64 bytes."""
    palette = np.zeros(64, np.uint8)
    palette[0] = 1
    palette[16:32].view(np.uint16)[:] = 64
    palette[48:56] = TILE_ROWS
    return palette


SHAPE = _shape()


class _BFloat(ir.Type):
    """LLVM's 16-bit float with the range of float32, which llvmlite has no name for."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _BFloat)

    def __hash__(self):
        return hash(_BFloat)


def _emit(builder, name: str, operands=(), result=None):
    """Call LLVM's ``llvm.x86.<name>``."""
    kind = ir.FunctionType(result or ir.VoidType(), [value.type for value in operands])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}")
    return builder.call(function, operands)


def _tile(number: int) -> ir.Constant:
    return ir.Constant(_I8, number)


@intrinsic
def configure(typingctx, shape):
    """Ready this thread's matrix unit, with :data:`SHAPE` at the address ``shape``."""

    def codegen(context, builder, signature, arguments):
        _emit(builder, "ldtilecfg", [builder.inttoptr(arguments[0], _BYTES)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def release(typingctx):
    """Give this thread's matrix unit back: the system need not save its tiles any longer."""

    def codegen(context, builder, signature, arguments):
        _emit(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


def _word(builder, table, index):
    at = builder.add(table, builder.shl(index, i64(3)))
    return builder.load(builder.inttoptr(at, I64.as_pointer()))


# Halves of the left and of the right operand that are multiplied, one of them that of the product
# before; and the first of the two tiles that hold some of each; the tiles below are sums.
_PRODUCTS = ((0, 1), (0, 0), (1, 0))
_LEFT, _RIGHT = 4, 6


class _Operand:
    """Some tiles of one operand in one step: loaded when a product needs them."""

    def __init__(self, builder, register: int, addresses: list, low, pitch):
        self.builder, self.register = builder, register
        self.addresses, self.low, self.pitch = addresses, low, pitch
        self.held: dict[int, tuple[int, int]] = {}  # tile of the unit → what it holds

    def load(self, number: int, half: int) -> int:
        """The tile of the unit that holds this one."""
        register = self.register + number % 2
        if self.held.get(register) != (number, half):
            at = self.addresses[number]
            at = self.builder.add(at, self.low) if half else at
            operands = [_tile(register), self.builder.inttoptr(at, _BYTES), self.pitch]
            _emit(self.builder, "tileloadd64", operands)
            self.held[register] = (number, half)
        return register


def _product(
    v: Vectors, mt, nt, a, rows, a_low, pitch, b, columns, b_low, steps, n_steps, c, c_down,
    c_across, c_pitch,
):  # fmt: skip
    builder = v.builder
    left = [builder.add(a, _word(builder, rows, i64(i))) for i in range(mt)]
    right = [builder.add(b, _word(builder, columns, i64(j))) for j in range(nt)]
    for tile in range(mt * nt):
        _emit(builder, "tilezero", [_tile(tile)])

    def step(index, carried):
        entry = builder.add(steps, builder.shl(index, i64(4)))
        shifts = [_word(builder, entry, i64(i)) for i in range(2)]
        lefts = _Operand(builder, _LEFT, [builder.add(at, shifts[0]) for at in left], a_low, pitch)
        rights = _Operand(
            builder, _RIGHT, [builder.add(at, shifts[1]) for at in right], b_low, i64(64)
        )
        for halves in _PRODUCTS:
            for i in range(mt):
                for j in range(nt):
                    tiles = (i * nt + j, lefts.load(i, halves[0]), rights.load(j, halves[1]))
                    _emit(builder, "tdpbf16ps", list(map(_tile, tiles)))
        return []

    v.loop(n_steps, [], step)
    for i in range(mt):
        for j in range(nt):
            at = builder.add(c, builder.mul(c_down, i64(i)))
            at = builder.inttoptr(builder.add(at, builder.mul(c_across, i64(j))), _BYTES)
            _emit(builder, "tilestored64", [_tile(i * nt + j), at, c_pitch])


@intrinsic(prefer_literal=True)
def matrix_product(
    typingctx, like, mt, nt, a, rows, a_low, pitch, b, columns, b_low, steps, n_steps, c, c_down,
    c_across, c_pitch,
):  # fmt: skip
    """``mt`` × ``nt`` tiles of sums of ``DEPTH · n_steps`` products.

    Tile i of the left operand begins at ``a + rows[i]``, its rows ``pitch`` bytes apart; tile j of
    the right one at ``b + columns[j]``, pairs of rows 64 bytes apart.  In step s they are
    ``steps[s][0]`` and ``steps[s][1]`` bytes further; second halves are ``a_low`` and ``b_low``
    bytes behind the first.  Tile (i, j) of the result goes to ``c + i·c_down + j·c_across``, its
    rows ``c_pitch`` bytes apart.
    """

    def codegen(context, builder, signature, arguments):
        sizes = [literal(argument) for argument in signature.args[1:3]]
        return outlined(
            context, builder, signature, arguments[3:], "matrix_product_{}_{}".format(*sizes),
            lambda v, values: _product(v, *sizes, *values),
        )  # fmt: skip

    return types.void(like, mt, nt, *[types.int64] * 13), codegen


def _halves(v: Vectors, first, second):
    """Two vectors as one of bfloat16 and one of what that leaves of them; both of 16-bit words."""
    builder = v.builder
    words = ir.VectorType(_I16, 2 * v.lanes)
    pairs = ir.VectorType(_BFloat(), 2 * v.lanes)

    def rounded(first, second):
        both = _emit(builder, "avx512bf16.cvtne2ps2bf16.512", [second, first], pairs)
        return builder.bitcast(both, words)

    def rest(value, half, start):
        lanes = ir.VectorType(I32, v.lanes)
        wide = builder.zext(v.shuffle(half, half, range(start, start + v.lanes)), lanes)
        wide = builder.shl(wide, ir.Constant(lanes, [16] * v.lanes))
        return builder.fsub(value, builder.bitcast(wide, v.type))

    high = rounded(first, second)
    return high, rounded(rest(first, high, 0), rest(second, high, v.lanes))


def _put(v: Vectors, words, address):
    v.builder.store(words, v.pointer(address, words.type), align=2)


@intrinsic
def split_pixels(typingctx, like, target, low, source, step, count):
    """``count`` times 32 elements in a row, ``step`` bytes apart, as halves side by side."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, low, source, step, count = arguments[1:]

        def body(index, carried):
            target, source = carried
            high, rest = _halves(v, v.load(source), v.load(source, 1))
            _put(v, high, target)
            _put(v, rest, builder.add(target, low))
            return [v.offset(target, v.nbytes), builder.add(source, step)]

        v.loop(count, [target, source], body)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 5), codegen


def _interleaved(v: Vectors, words):
    """Elements of the first half, each followed by its neighbour in the second."""
    return v.shuffle(words, words, [i // 2 + v.lanes * (i % 2) for i in range(2 * v.lanes)])


def _pair(v: Vectors, source, row, vector):
    """Halves of two rows, element by element side by side."""
    both = _halves(v, v.load(source, vector), v.load(v.builder.add(source, row), vector))
    return [_interleaved(v, half) for half in both]


def _pairs(v: Vectors, nt, target, low, source, row):
    builder = v.builder

    def body(index, carried):
        target, source = carried
        for j in range(nt):
            for half, words in enumerate(_pair(v, source, row, j)):
                at = builder.add(target, low) if half else target
                _put(v, words, v.offset(at, j * TILE_BYTES))
        return [v.offset(target, 64), builder.add(source, builder.shl(row, i64(1)))]

    v.loop(i64(DEPTH // 2), [target, source], body)


@intrinsic(prefer_literal=True)
def split_pairs(typingctx, like, nt, target, low, source, row):
    """``DEPTH`` rows of ``nt`` vectors, ``row`` bytes apart, as tiles of a right operand."""

    def codegen(context, builder, signature, arguments):
        nt = literal(signature.args[1])
        return outlined(
            context, builder, signature, arguments[2:], f"split_pairs_{nt}",
            lambda v, values: _pairs(v, nt, *values),
        )  # fmt: skip

    return types.void(like, nt, *[types.int64] * 4), codegen


def _planes(v: Vectors, target, pitch, low, source, row):
    builder = v.builder
    pairs = [
        _pair(v, builder.add(source, builder.mul(row, i64(2 * p))), row, 0) for p in range(v.lanes)
    ]
    for half in range(2):
        lines = [builder.bitcast(pair[half], v.type) for pair in pairs]
        start = builder.add(target, low) if half else target
        for i, line in enumerate(v.transpose(lines)):
            v.store(line, builder.add(start, builder.mul(pitch, i64(i))))


@intrinsic
def split_planes(typingctx, like, target, pitch, low, source, row):
    """``DEPTH`` rows of one vector, ``row`` bytes apart, transposed: an element's run of halves.

    Those of neighbouring elements are ``pitch`` bytes apart.
    """

    def codegen(context, builder, signature, arguments):
        return outlined(
            context, builder, signature, arguments[1:], "split_planes",
            lambda v, values: _planes(v, *values),
        )  # fmt: skip

    return types.void(like, *[types.int64] * 5), codegen


class _Judge:
    """What a run of results says of itself: whether one is not finite, whether one is not tiny."""

    def __init__(self, v: Vectors):
        self.v = v
        self.start = [v.zero, v.zero]  # NaN from the first on that is not finite; the largest

    def see(self, value, spoilt, largest) -> list:
        v = self.v
        size = v.builder.call(v._intrinsic("fabs", 1), [value])
        larger = v.builder.fcmp_ordered(">", size, largest)
        return [v.fma(value, v.zero, spoilt), v.builder.select(larger, size, largest)]

    def note(self, spoilt, largest, flags) -> None:
        """Set the first word at ``flags``, and the second one."""
        builder, v = self.v.builder, self.v
        doubts = builder.fcmp_unordered("uno", spoilt, spoilt)
        signs = builder.fcmp_ordered(">=", largest, v.constant(TINY))
        for number, lanes in enumerate((doubts, signs)):
            word = builder.bitcast(lanes, ir.IntType(v.lanes))
            with builder.if_then(builder.icmp_unsigned("!=", word, ir.Constant(word.type, 0))):
                at = v.offset(flags, 8 * number)
                builder.store(i64(1), builder.inttoptr(at, I64.as_pointer()))


@intrinsic
def finish_rows(typingctx, like, target, step, values, count, valid, bias, relu, flags):
    """``count`` vectors in a row, to which ``bias`` is added, through a ReLU if asked for.

    They go to ``target`` and up, ``step`` bytes apart, ``valid`` lanes of each.  Sets the word at
    ``flags`` if a sum is not finite, and the next one if a sum is not tiny.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, step, values, count, valid, bias, relu, flags = arguments[1:]
        judge = _Judge(v)
        bias, floor = v.load(bias), v.floor(relu)

        def run(lanes):
            def body(index, carried):
                values, target, *seen = carried
                value = builder.fadd(v.load(values), bias)
                write(v, v.at_least(value, floor), target, 1, lanes)
                moved = [v.offset(values, v.nbytes), builder.add(target, step)]
                return moved + judge.see(value, *seen)

            judge.note(*v.loop(count, [values, target, *judge.start], body)[2:], flags)

        whole = builder.icmp_signed("==", valid, i64(v.lanes))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                run(None)
            with otherwise:
                run(valid)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 8), codegen


@intrinsic
def add_up(typingctx, like, target, before, values, count, flags):
    """``target = before + values`` over ``count`` vectors, judged as in ``finish_rows``."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, before, values, count, flags = arguments[1:]
        judge = _Judge(v)

        def body(index, carried):
            at = builder.mul(index, i64(v.nbytes))
            both = [v.load(builder.add(start, at)) for start in (before, values)]
            value = builder.fadd(*both)
            v.store(value, builder.add(target, at))
            return judge.see(value, *carried)

        judge.note(*v.loop(count, judge.start, body), flags)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 5), codegen
