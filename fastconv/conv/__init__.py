"""Convolution: the algorithms, their registry, the selector and the public array functions."""
