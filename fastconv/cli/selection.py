"""The layers that a command line names, and what it says of all of them."""

from __future__ import annotations

import argparse
import contextlib
import re
from difflib import get_close_matches
from pathlib import Path

from fastconv.comparison import layers, study, zoo
from fastconv.comparison.layers import Layer
from fastconv.conv.algorithm import ACCURACIES
from fastconv.conv.options import options
from fastconv.core.checks import DTYPES
from fastconv.core.problem import DIRECTIONS, FORMATS

from . import layer
from .arguments import at_least
from .errors import Usage

_SETTINGS = ("stride", "padding", "dilation", "groups")
_SIZES = re.compile(r"\d+(x\w*)+")  # or what is meant as such
_KINDS = "shapes as 8x64x56x56 128x64x3x3, a layer, layers, crossings, a model or FILE.csv"


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = f"{_KINDS}; shapes of one word are {layer.SYNTAX}"
    add("what", nargs="+", metavar="WHAT", help=what)
    for name in _SETTINGS:
        kinds = "N" if name == "groups" else "N or NxN"
        add(f"--{name}", metavar="N", help=f"{name} of the shapes, {kinds}")
    add("--batch", type=at_least(1), metavar="N", help="images at once, whatever a layer says")
    for option, choices in (("--dtype", DTYPES), ("--format", FORMATS)):
        add(option, choices=choices, metavar="NAME", help=f"one of {', '.join(choices)}")
    parser.set_defaults(dtype="float32", format="nchw")
    passes = f"some of {', '.join(DIRECTIONS)}"
    add("--passes", nargs="+", choices=DIRECTIONS, default=DIRECTIONS, metavar="NAME", help=passes)
    conditions(parser)


def conditions(parser: argparse.ArgumentParser) -> None:
    """The options that :func:`asked` applies."""
    levels = f"one of {', '.join(ACCURACIES)}"
    parser.add_argument("--accuracy", choices=ACCURACIES, metavar="NAME", help=levels)
    instead = "instead of one for each processor"
    parser.add_argument("--threads", type=at_least(1), metavar="N", help=instead)


def cases(args: argparse.Namespace) -> list[study.Case]:
    """The passes of the layers that ``WHAT`` names.  Raises :class:`Usage`."""
    found = [one for word in _joined(args) for one in _named(word, args.batch)]
    if args.batch is not None:
        found = [one._replace(problem=one.problem._replace(N=args.batch)) for one in found]
    passes = study.cases(found, args.passes, args.dtype, args.format)
    if not passes:
        raise Usage(f"training needs no {' or '.join(args.passes)} of {' '.join(args.what)}")
    return passes


def asked(args: argparse.Namespace) -> contextlib.ExitStack:
    """The options that the command line asks for, for a ``with`` block.  Raises :class:`Usage`."""
    applied = contextlib.ExitStack()
    try:
        applied.enter_context(options(accuracy=args.accuracy, num_threads=args.threads))
    except ValueError as error:
        raise Usage(f"--threads: {error}") from None
    return applied


def _joined(args: argparse.Namespace) -> list[str]:
    """The words of ``WHAT``, shapes that come as two words joined to one with their settings."""
    settings = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    letters = "".join(f"{name[0]}{value}" for name, value in settings.items())
    words, found, pairs = iter(args.what), [], 0
    for word in words:
        if _SIZES.fullmatch(word):
            weight = next(words, None)
            if weight is None:
                raise Usage(f"{word!r} is an input, and a weight KxCxRxS must follow it")
            word, pairs = ":".join(filter(None, (word, weight, letters))), pairs + 1
        found.append(word)
    if settings and not pairs:
        raise Usage(f"--{next(iter(settings))} goes with shapes, as 8x64x56x56 128x64x3x3")
    return found


def _named(word: str, batch: int | None) -> list[Layer]:
    """The layers that one word stands for."""
    if ":" in word:
        written = layer.parse(word)
        return [Layer(written.text, written.problem)]
    if word.endswith(".csv"):
        return _read(Path(word))
    if word in layers.TABLES:
        return layers.shipped(word)
    model, dot, _ = word.partition(".")  # digits_cnn.conv2
    if model in zoo.MODELS:
        found = zoo.layers(model, batch or zoo.BATCH)
        wanted = found if not dot else [one for one in found if one.name == word]
    else:
        found = [one for table in layers.TABLES for one in layers.shipped(table)]
        wanted = [one for one in found if one.name == word]
    if not wanted:
        known = [*layers.TABLES, *zoo.MODELS, *(one.name for one in found)]
        near = [name for name in known if word and word in name][:3]
        near = near or get_close_matches(word, known)
        hint = f"did you mean {' or '.join(near)}?" if near else f"expected {_KINDS}"
        raise Usage(f"there is no layer {word!r}: {hint}")
    return wanted


def _read(path: Path) -> list[Layer]:
    try:
        return layers.read(path)
    except OSError as error:
        raise Usage(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise Usage(str(error)) from None
