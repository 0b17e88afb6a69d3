"""Ready-made networks."""

from .digits import digits_cnn

__all__ = ["digits_cnn"]
