"""Comparing algorithms over many layers: which, measuring them, keeping the results."""
