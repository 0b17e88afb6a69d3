"""The vector vocabulary: the few words every micro-kernel is written in.

A :class:`Vectors` wraps an LLVM builder for one element type and one vector length and offers
load, store, broadcast, fma, ... on explicit ``<lanes x float>`` values.  LLVM's own vectoriser is
never relied on: it prefers half-width vectors on AVX-512 hosts and leaves half the peak unused.

Addresses are 64-bit integers throughout (:mod:`fastconv.core.address`), so that one compiled kernel
serves arrays of every layout, alignment and writability.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastconv.core.machine import machine

I64 = ir.IntType(64)
I32 = ir.IntType(32)
_ELEMENT = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
_BY_SIZE = {4: types.float32, 8: types.float64}


def i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def lanes(itemsize: int) -> int:
    """Elements of so many bytes in one vector register of the target machine."""
    return machine().isa.vector_bytes // itemsize


def literal(argument: types.Type):
    """The compile-time integer, or text, behind a numba literal type."""
    return argument.literal_value


@intrinsic(prefer_literal=True)
def element(typingctx, itemsize):
    """A zero of the float type with ``itemsize`` bytes: the ``like`` argument of every other word.

    Kernels know their element type by its size, because integers are what numba both passes to an
    intrinsic at compile time and keeps in its cache key; helpers then carry it on as a type.
    """
    kind = _BY_SIZE[literal(itemsize)]

    def codegen(context, builder, signature, arguments):
        return context.get_constant(kind, 0.0)

    return kind(itemsize), codegen


def outlined(context, builder, signature, arguments, name: str, body: Callable):
    """Emit ``body(vectors, arguments)`` as a function of its own and call it.

    A register tile needs every vector register.  Inlined into its driver it would share them with
    the driver's variables, and LLVM would spill accumulators inside the hottest loop.
    """
    module = builder.module
    kinds = [argument.type for argument in arguments]
    if name not in module.globals:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        body(Vectors(inside, signature.args[0]), function.args)
        inside.ret_void()
    builder.call(module.globals[name], arguments)
    return context.get_dummy_value()


class Vectors:
    """Emit vector instructions for elements of the numba type ``kind``."""

    def __init__(self, builder: ir.IRBuilder, kind: types.Float):
        self.builder = builder
        self.element = _ELEMENT[kind]
        self.itemsize = kind.bitwidth // 8
        self.lanes = lanes(self.itemsize)
        self.type = ir.VectorType(self.element, self.lanes)
        self.nbytes = self.lanes * self.itemsize

    def pointer(self, address, kind):
        return self.builder.inttoptr(address, kind.as_pointer())

    def offset(self, address, nbytes):
        """``address + nbytes``; ``nbytes`` a Python int or an LLVM value."""
        if isinstance(nbytes, int):
            if nbytes == 0:
                return address
            nbytes = i64(nbytes)
        return self.builder.add(address, nbytes)

    def steps(self, start, step, count: int) -> list:
        """``count`` addresses, ``step`` bytes apart."""
        return [self.builder.add(start, self.builder.mul(step, i64(i))) for i in range(count)]

    def load(self, address, vector: int = 0):
        """The ``vector``-th vector behind ``address`` (no alignment assumed)."""
        at = self.offset(address, vector * self.nbytes)
        return self.builder.load(self.pointer(at, self.type), align=self.itemsize)

    def copy(self, target, source, vectors):
        """Copy so many vectors, an LLVM value."""

        def body(index, carried):
            at = self.builder.mul(index, i64(self.nbytes))
            self.store(self.load(self.builder.add(source, at)), self.builder.add(target, at))
            return []

        self.loop(vectors, [], body)

    def store(self, value, address, vector: int = 0):
        at = self.offset(address, vector * self.nbytes)
        self.builder.store(value, self.pointer(at, self.type), align=self.itemsize)

    def first_lanes(self, count):
        """The mask of the first ``count`` lanes."""
        kind = ir.VectorType(I32, self.lanes)
        limit = self.splat(self.builder.trunc(count, I32), kind)
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(self.lanes))), limit)

    def masked(self, name: str, value, pointer, mask):
        """LLVM's masked ``load`` or ``gather`` (or ``value``'s lanes), ``store`` or ``scatter``."""
        element = {"float": "f32", "double": "f64"}.get(str(value.type.element), "i64")
        vector = f"v{self.lanes}"
        space = f"{vector}p0" if name in ("gather", "scatter") else "p0"
        align = ir.Constant(I32, self.itemsize)
        if name in ("load", "gather"):
            result, operands = value.type, [pointer, align, mask, value]
        else:
            result, operands = ir.VoidType(), [value, pointer, align, mask]
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(result, [operand.type for operand in operands]),
            f"llvm.masked.{name}.{vector}{element}.{space}",
        )
        return self.builder.call(function, operands)

    def load_some(self, address, mask):
        """The lanes of a vector that ``mask`` has; the others are 0, and not read."""
        return self.masked("load", self.zero, self.pointer(address, self.type), mask)

    def store_some(self, value, address, mask):
        """Store the lanes that ``mask`` has."""
        self.masked("store", value, self.pointer(address, self.type), mask)

    def stream(self, value, address):
        """Store a vector past the caches, at an address aligned to vectors; see ``fence``."""
        store = self.builder.store(value, self.pointer(address, self.type), align=self.nbytes)
        one = self.builder.module.add_metadata([ir.Constant(I32, 1)])
        store.set_metadata("nontemporal", one)

    def load_scalar(self, address):
        return self.builder.load(self.pointer(address, self.element), align=self.itemsize)

    def store_scalar(self, value, address):
        self.builder.store(value, self.pointer(address, self.element), align=self.itemsize)

    def splat(self, scalar, kind: ir.VectorType | None = None):
        """A vector with ``scalar`` in every lane, of another ``kind`` if need be."""
        undefined = ir.Constant(kind or self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
        mask = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, undefined, mask)

    def broadcast(self, address):
        return self.splat(self.load_scalar(address))

    def constant(self, value: float):
        return ir.Constant(self.type, [value] * self.lanes)

    @property
    def zero(self):
        return self.constant(0.0)

    def _intrinsic(self, name: str, arity: int):
        suffix = "f32" if self.itemsize == 4 else "f64"
        kind = ir.FunctionType(self.type, [self.type] * arity)
        name = f"llvm.{name}.v{self.lanes}{suffix}"
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def fma(self, a, b, c):
        """``a * b + c``, fused where the machine can (``fmuladd`` never calls libm's ``fma``)."""
        return self.builder.call(self._intrinsic("fmuladd", 3), [a, b, c])

    def at_least(self, value, floor):
        """``max(value, floor)`` that keeps NaN, as NumPy's ``maximum`` does."""
        lower = self.builder.fcmp_ordered("<", value, floor)
        return self.builder.select(lower, floor, value)

    def floor(self, relu):
        """What no result is below: 0 behind a ReLU (``relu`` is not 0), or else minus infinity."""
        active = self.builder.icmp_signed("!=", relu, i64(0))
        return self.builder.select(active, self.zero, self.constant(float("-inf")))

    def deal(self, addresses: Sequence, share: int):
        """Each element to a share of the lanes, one after the other."""
        value = self.broadcast(addresses[0])
        for i, address in enumerate(addresses[1:], 1):
            lanes = [int(i * share <= lane < (i + 1) * share) for lane in range(self.lanes)]
            mask = ir.Constant(ir.VectorType(ir.IntType(1), self.lanes), lanes)
            value = self.builder.select(mask, self.broadcast(address), value)
        return value

    def permute(self, name: str, value, places):
        """The lanes of ``value`` at these places, by the instruction of that LLVM name."""
        kind = ir.FunctionType(self.type, [value.type, places.type])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [value, places])

    def raise_flag(self, spoilt, flag) -> None:
        """Set the word at ``flag`` if a lane of ``spoilt`` is NaN."""
        builder = self.builder
        lanes = builder.fcmp_unordered("uno", spoilt, spoilt)
        word = builder.bitcast(lanes, ir.IntType(self.lanes))
        with builder.if_then(builder.icmp_unsigned("!=", word, ir.Constant(word.type, 0)), False):
            builder.store(i64(1), builder.inttoptr(flag, I64.as_pointer()))

    def prefetch(self, address, write: bool = False):
        """Bring the cache line at ``address`` near (to the second level); never faults.

        To ``write`` it, let no other core keep it.
        """
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        words = [ir.Constant(I32, word) for word in (int(write), 2, 1)]  # level, data
        self.builder.call(function, [self.builder.inttoptr(address, byte), *words])

    def prefetch_lines(self, address, lines, step):
        """Prefetch ``lines`` cache lines, ``step`` bytes apart; the address behind them."""

        def body(index, carried):
            self.prefetch(carried[0])
            return [self.offset(carried[0], step)]

        return self.loop(lines, [address], body)[0]

    def shuffle(self, a, b, indices: Sequence[int]):
        mask = ir.Constant(ir.VectorType(I32, len(indices)), list(indices))
        return self.builder.shuffle_vector(a, b, mask)

    def transpose(self, rows: list) -> list:
        """Transpose vectors as square matrices side by side: rounds of pairwise shuffles.

        There is one if there are as many vectors as lanes.  Each round swaps the off-diagonal
        blocks of size ``half`` between rows ``half`` apart.
        """
        rows = list(rows)
        half = len(rows) // 2
        while half:
            for i in range(len(rows)):
                if i & half:
                    continue
                top, bottom = rows[i], rows[i + half]
                lane = range(self.lanes)
                rows[i] = self.shuffle(
                    top, bottom, [self.lanes + j - half if j & half else j for j in lane]
                )
                rows[i + half] = self.shuffle(
                    top, bottom, [self.lanes + j if j & half else j + half for j in lane]
                )
            half //= 2
        return rows

    def add_across(self, values: Sequence):
        """The sum of the lanes of each of up to ``lanes`` vectors: that of vector i in lane i.

        Like :meth:`transpose`, but what a round has swapped is added, and half as much goes on.
        """
        rows = [*values, *[self.zero] * (self.lanes - len(values))]
        while len(rows) > 1:
            half = len(rows) // 2
            lane = range(self.lanes)
            near = [self.lanes + j - half if j & half else j for j in lane]
            far = [self.lanes + j if j & half else j + half for j in lane]
            rows = [
                self.builder.fadd(self.shuffle(x, y, near), self.shuffle(x, y, far))
                for x, y in zip(rows, rows[half:], strict=False)
            ]
        return rows[0]

    def room(self, nbytes: int):
        """The address of so many bytes of the stack."""
        kind = ir.ArrayType(ir.IntType(8), nbytes)
        at = cgutils.alloca_once(self.builder, kind)
        return self.builder.ptrtoint(at, I64)

    def opaque(self, value):
        """``value``, but the optimiser knows nothing about it.

        Keeps LLVM from unrolling a loop whose count it can bound, at the price of spilt registers.
        """
        kind = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(kind, "", "=r,0", [value], side_effect=False)

    def loop(self, count, carried: Sequence, body: Callable) -> list:
        """Run ``carried = body(index, carried)`` for index 0 … count−1; the final ``carried``.

        The carried values live in phis, that is in registers; ``count`` may be 0.
        """
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("head")
        inside = builder.append_basic_block("body")
        after = builder.append_basic_block("after")
        builder.branch(head)

        builder.position_at_end(head)
        index = builder.phi(I64)
        index.add_incoming(i64(0), before)
        phis = []
        for value in carried:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            phis.append(phi)
        builder.cbranch(builder.icmp_signed("<", index, count), inside, after)

        builder.position_at_end(inside)
        result = body(index, phis)
        tail = builder.block
        index.add_incoming(builder.add(index, i64(1)), tail)
        for phi, value in zip(phis, result, strict=True):
            phi.add_incoming(value, tail)
        builder.branch(head)

        builder.position_at_end(after)
        return phis

    def when(self, condition, carried: Sequence, body: Callable) -> list:
        """``body(carried)`` if ``condition`` holds, else ``carried`` as it is."""
        builder = self.builder
        before = builder.block
        inside = builder.append_basic_block("when")
        after = builder.append_basic_block("after")
        builder.cbranch(condition, inside, after)

        builder.position_at_end(inside)
        result = body(carried)
        tail = builder.block
        builder.branch(after)

        builder.position_at_end(after)
        phis = []
        for old, new in zip(carried, result, strict=True):
            phi = builder.phi(old.type)
            phi.add_incoming(old, before)
            phi.add_incoming(new, tail)
            phis.append(phi)
        return phis
