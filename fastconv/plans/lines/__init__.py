"""Few filters or channels: lines of the input, read at once for all taps of a row."""
