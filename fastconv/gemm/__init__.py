"""The blocks of a matrix product: packing its operands, tiling it, storing its results."""
