"""What a command raises to end with one line on stderr instead of a traceback."""

from __future__ import annotations


class Failure(Exception):
    """The command was understood and could not be carried out."""

    exit_code = 1


class Usage(Failure):
    """The command line itself is wrong."""

    exit_code = 2
