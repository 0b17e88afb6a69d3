"""Blocks of output pixels times packed filters: over windows (``direct``), columns (``im2col``)."""
