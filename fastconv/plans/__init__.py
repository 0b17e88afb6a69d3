"""How correlations and weight gradients are computed: block sizes, tables, kernels.

The files here are what several ways share; a folder is one way.  A plan knows sizes and runs on any
arrays of them.  It says how much work it is; what that costs, and whether it is the one to run, is
for the algorithms above.
"""
