"""Data sets as NumPy arrays, and the batches one trains on."""

from .digits import load_digits
from .loader import DataLoader
from .split import stratified_split
from .transforms import RandomShift

__all__ = ["DataLoader", "RandomShift", "load_digits", "stratified_split"]
