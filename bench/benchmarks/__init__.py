"""The asv suite: the time and the figures of every algorithm along one axis at a time.

A class is an axis (:mod:`.axes`) of a pass: the same names in :mod:`.forward`,
:mod:`.backward_input` and :mod:`.backward_weight`.  Its first parameter is the algorithm, its
second the number on the axis, so that one page of asv shows where the algorithms cross.
"""
