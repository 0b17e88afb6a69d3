"""The algorithms, in the order in which they are listed; the last one runs everything."""

from __future__ import annotations

from .algorithm import Algorithm
from .bf16x3 import Bf16x3
from .depthwise import Depthwise
from .direct import Direct
from .fft import Fft
from .im2col import Im2col
from .reference import Reference
from .strassen import Strassen
from .winograd import Winograd

ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Direct(),
        Im2col(),
        Depthwise(),
        *(Winograd(), Winograd(2), Winograd(4), Winograd(6)),
        Fft(),
        Strassen(),
        Bf16x3(),
        Reference(),
    )
}


def algorithms() -> tuple[str, ...]:
    """Names of the algorithms, in registry order."""
    return tuple(ALGORITHMS)


def family(name: str) -> str:
    """``winograd`` for ``winograd4``, which forces a tile; any other name is its own family."""
    algorithm = ALGORITHMS.get(name)
    return (algorithm and algorithm.forces) or name
