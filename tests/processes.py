"""Running a script in a fresh Python process, for what only shows there: caches, forks, layers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 300  # seconds; what takes this long hangs


def start(source, *arguments, package=ROOT, **environment):
    """A process that runs ``source`` with warnings as errors and imports ``package``."""
    paths = [str(package), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", textwrap.dedent(source), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """What the process printed; its errors are ours."""
    try:
        output, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, f"exit {process.returncode}\n{output}\n{errors}"
    return output.strip()


def run(source, *arguments, **options):
    return finish(start(source, *arguments, **options))
