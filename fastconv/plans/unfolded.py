"""What correlations have in common whose lanes are not the outputs of several pixels, folded."""

from __future__ import annotations

from .part import Part


class UnfoldedCorrelation(Part):
    """One correlation of a plan, like :class:`.BlockedCorrelation`."""

    width: int  # lanes of a tile

    @property
    def outputs(self) -> int:
        """Pixels of the results."""
        return self.c.pixels

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        c = self.c
        return 2 * c.groups * c.pixels * c.steps * self.filters.tiles * self.width

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of packing: written once, read once."""
        return 2 * self.filters.nbytes
