"""How correlations and weight gradients are computed: block sizes, tables, kernels.

The files here are what several ways share; a folder is one way, and may use files of another
(``lines`` some of ``depthwise``, ``bilinear`` some of ``lines``).  A plan knows sizes and runs on
any arrays of them.  It says how much work it is; what that costs, and whether it is the one to run,
is for the algorithms above.

Words that come up everywhere:

- a *correlation* is the sum of :mod:`.correlation`, to which forward passes and input gradients are
  reduced; a *part* is its plan (:mod:`.part`), and what the algorithms call a plan runs some parts;
- a *register tile* is mr × nv sums held in registers, a *tile of filters* its nv vectors of them;
  ``winograd`` and ``fft`` have tiles of pixels, too;
- a *block* is channels, or pixels, that are worked on together; a *task* is what a worker takes,
  *room* a worker's scratch; units, copies and parts of sums are those of
  :mod:`fastconv.gemm.sharing`;
- ``item`` is the bytes of an element, ``row`` those of the lanes of a tile, ``pixel`` those of the
  channels of a block.
"""
