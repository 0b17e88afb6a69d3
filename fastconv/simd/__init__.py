"""Generators of explicit-vector micro-kernels."""
