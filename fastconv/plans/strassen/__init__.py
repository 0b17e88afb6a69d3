"""Sums of blocks of an array: what Strassen's products are of, and what they add up to."""
