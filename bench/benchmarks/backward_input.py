"""The gradient of the input along every axis."""

from __future__ import annotations

from . import axes, timed


class _Pass(timed.Timed):
    direction = "backward_input"


class FilterSize(axes.FilterSize, _Pass):
    pass


class DepthwiseFilterSize(axes.DepthwiseFilterSize, _Pass):
    pass


class Channels(axes.Channels, _Pass):
    pass


class Image(axes.Image, _Pass):
    pass


class Batch(axes.Batch, _Pass):
    pass


class Threads(axes.Threads, _Pass):
    pass
