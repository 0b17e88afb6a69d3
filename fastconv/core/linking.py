"""Filling in addresses, and running kernels one worker after the other, in one go.

In Python either would take longer than a small kernel.
"""

from __future__ import annotations

import functools

from numba.core import types

from .dispatched import compile_cached
from .jit import call, record, record_at

WORD = 8  # bytes
LINK = record("at base offset")  # a word, and so many bytes behind which base it points
LAUNCH = record("kernel at workers")  # a kernel's address, what it is handed, how many run it

_word = record("value")


@functools.cache
def runner():
    """``run(bases, links, n_links, launches, n_launches)``, of tables at these addresses.

    Bases are addresses, too; ``at`` counts bytes from the first of them on.
    """
    link_bytes, launch_bytes = LINK.itemsize, LAUNCH.itemsize

    def run(bases, links, n_links, launches, n_launches):
        begin = record_at(bases, _word).value
        for i in range(n_links):
            link = record_at(links + i * link_bytes, LINK)
            base = record_at(bases + WORD * link.base, _word).value
            record_at(begin + link.at, _word).value = base + link.offset
        for i in range(n_launches):
            launch = record_at(launches + i * launch_bytes, LAUNCH)
            for worker in range(launch.workers):
                call(launch.kernel, worker, begin + launch.at)

    return compile_cached(run, types.void(*[types.int64] * 5), nogil=True)
