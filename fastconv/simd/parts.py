"""Storing the first lanes of vectors: under a mask, or by halves where such stores take longer."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from fastconv.core.machine import machine

from .vector import I64, Vectors, i64


def store_parts(v: Vectors, values: list, addresses: list, count, some=None) -> None:
    """Store the first ``count`` lanes of values, all if there are more, each at its address.

    Of the first ``some`` values; all by default.
    """
    store = _store_masked if machine().isa.masks else _store_halves
    store(v, values, addresses, count, i64(len(values)) if some is None else some)


def _store_masked(v: Vectors, values, addresses, count, some) -> None:
    builder, mask = v.builder, v.first_lanes(count)
    pairs = list(zip(values, addresses, strict=True))
    every = builder.icmp_signed("==", some, i64(len(values)))
    with builder.if_else(every) as (straight, branching):
        with straight:
            for value, at in pairs:
                v.store_some(value, at, mask)
        with branching:
            for i, (value, at) in enumerate(pairs):
                with builder.if_then(builder.icmp_signed("<", i64(i), some)):
                    v.store_some(value, at, mask)


def _store_halves(v: Vectors, values, addresses, count, some) -> None:
    """By way of memory, where a half can begin at any lane."""
    builder, width = v.builder, i64(v.lanes)
    room = cgutils.alloca_once(builder, v.element, i64(v.lanes * len(values)))
    table = cgutils.alloca_once(builder, I64, i64(len(values)))
    staged, places = (builder.ptrtoint(pointer, I64) for pointer in (room, table))
    for i, (value, at) in enumerate(zip(values, addresses, strict=True)):
        v.store(value, staged, i)
        builder.store(at, builder.gep(table, [i64(i)]))
    count = builder.select(builder.icmp_signed(">", count, i64(0)), count, i64(0))
    count = builder.select(builder.icmp_signed("<", count, width), count, width)

    def one(index, carried):
        (source,) = carried
        entry = builder.add(places, builder.shl(index, i64(3)))
        at, target = source, builder.load(builder.inttoptr(entry, I64.as_pointer()))
        size = v.lanes
        while size:
            kind, bit = ir.VectorType(v.element, size), builder.and_(count, i64(size))
            with builder.if_then(builder.icmp_signed("!=", bit, i64(0))):
                part = builder.load(v.pointer(at, kind), align=v.itemsize)
                builder.store(part, v.pointer(target, kind), align=v.itemsize)
            passed = builder.mul(bit, i64(v.itemsize))
            at, target = builder.add(at, passed), builder.add(target, passed)
            size //= 2
        return [v.offset(source, v.nbytes)]

    v.loop(v.opaque(some), [staged], one)
