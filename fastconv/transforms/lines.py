"""Minimal filtering along lines of pixels: the sums of its components do not leave registers.

A window's rows, the phases of its stride and its channels are summed, all by components:

    y_i = Σ_j Aᵀ_ij Σ_terms (G w)_j · (Bᵀ x)_j

Here lines of the input are mapped, whose lanes are neighbouring tiles.  :mod:`.line_filtering`
multiplies some tiles by a vector of filters or more, and maps the sums before it stores outputs;
:mod:`.line_sums` is the adjoint for the weights, which maps a vector of dy and multiplies it.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Function, callee
from fastconv.simd.emitted import emitted, named
from fastconv.simd.vector import Vectors, element, i64

from .maps import emit
from .tile_map import INPUT, axis_program


def _spread(v: Vectors, sizes, count, source, residue, target, component):
    m, r = sizes
    builder, program = v.builder, axis_program(INPUT, m, r)

    def vector(index, carried):
        source, target = carried
        residues = [builder.add(source, builder.mul(residue, i64(k))) for k in range(m)]
        values = [
            v.load(v.offset(residues[k % m], k // m * v.itemsize)) for k in range(program.inputs)
        ]
        for j, value in enumerate(emit(v, program, values)):
            v.store(value, builder.add(target, builder.mul(component, i64(j))))
        return [v.offset(source, v.nbytes), v.offset(target, v.nbytes)]

    v.loop(count, [source, target], vector)


_apply = emitted({"spread": _spread})


@functools.cache
def line_map(itemsize: int, m: int, r: int) -> Function:
    """Map ``count`` vectors of neighbouring tiles.

    Elements k, k + m, … of a line stand together, ``residue`` bytes from those of k + 1; of the
    tiles each component does, ``component`` bytes from the next.
    """
    body = named("spread", m, r)

    @callee
    def spread(count, source, residue, target, component):
        _apply(element(itemsize), body, count, source, residue, target, component)

    return spread
