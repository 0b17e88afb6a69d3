"""The command line: ``fastconv demo``, ``fastconv compare``, ``fastconv explain`` and others.

A command is a module with three names: ``HELP`` (its line in ``fastconv --help``),
``arguments(parser)`` and ``run(args)``, which returns the exit code or raises
:class:`~.errors.Failure`.  What only one command needs (rich, matplotlib, scikit-learn) is imported
when that command runs.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings

import fastconv

from . import bench, compare, demo, explain, info, report, warmup
from .arguments import Parser
from .errors import Failure, Usage

COMMANDS = {
    "demo": demo,
    "compare": compare,
    "explain": explain,
    "report": report,
    "bench": bench,
    "info": info,
    "warmup": warmup,
}
INTERRUPTED = 130  # 128 + SIGINT, what a shell reports


def parser() -> Parser:
    top = Parser(
        prog="fastconv",
        description="Convolution compiled on your machine, with the layers to train on it.",
    )
    top.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    commands = top.add_subparsers(dest="command", metavar="command", title="commands")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.HELP, description=command.__doc__)
        command.arguments(sub)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run the command line ``argv`` (default: the process's own); its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "×" still gets its table
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _one_line
            code = _run(argv)
        if sys.stdout is not None:  # as it is where it was closed before
            sys.stdout.flush()
        return code
    except Failure as failure:
        print(f"fastconv: {failure}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        print("fastconv: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError:
        print("fastconv: there is not enough memory", file=sys.stderr)
        return Failure.exit_code
    except BrokenPipeError:  # the reader (head, less) has seen enough
        return _without_output()
    except OSError as error:  # a full disk, say
        print(f"fastconv: {error}", file=sys.stderr)
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            return _without_output()
        return Failure.exit_code


def _without_output() -> int:
    """The exit code where stdout takes nothing; Python would try once more at the end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Failure.exit_code


def _run(argv: list[str] | None) -> int:
    args = parser().parse_args(argv)
    if args.command is None:
        raise Usage(f"a command is needed: {', '.join(COMMANDS)} (see fastconv --help)")
    return COMMANDS[args.command].run(args)


def _one_line(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"fastconv: warning: {message}", file=sys.stderr)
