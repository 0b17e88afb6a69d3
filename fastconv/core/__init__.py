"""Shapes, the machine, compilation and its cache, programs of launches, threads, scratch memory."""
