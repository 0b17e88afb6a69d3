"""The layers of the house: imports go strictly downward, and no two files need each other."""

from __future__ import annotations

import ast
import graphlib
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastconv"

# From the top down.  Neighbours in a row do not know of each other.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("report",),
    ("comparison",),
    ("train", "models"),
    ("data",),
    ("nn", "optim"),
    ("autograd",),
    ("conv",),
    ("ops", "plans"),
    ("gemm", "transforms"),
    ("simd",),
    ("core",),
)
HEIGHT = {name: -row for row, names in enumerate(LAYERS) for name in names}
FACADE = {"fastconv", "fastconv.grad"}  # what users import; nothing below it may

RUNTIME = {"numba", "llvmlite", "numpy", "platformdirs", "rich"}  # llvmlite is a part of numba
OPTIONAL = {"sklearn", "matplotlib", "torch"}  # never imported together with fastconv

FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def _absolute(node, path):
    """The module that ``from … import`` names, relative dots resolved."""
    if not node.level:
        return node.module
    package = list(path.relative_to(ROOT).parts[:-1])
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _within(tree, wanted):
    """All nodes inside the nodes that are ``wanted``."""
    return {child for node in ast.walk(tree) if wanted(node) for child in ast.walk(node)}


def imports(path):
    """Every module that a file imports, and when: with the file, in a call, or for its types."""
    tree = ast.parse(path.read_text())
    functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    in_call = _within(tree, lambda node: isinstance(node, functions))
    for_types = _within(
        tree, lambda node: isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            names = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else base for name in names]
        else:
            continue
        when = "types" if node in for_types else "call" if node in in_call else "file"
        for name in names:
            yield name, when


def layer(module):
    return module.split(".")[1]


def test_every_folder_is_of_a_layer():
    folders = {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert folders | {"__main__"} == HEIGHT.keys()


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_downward(path):
    module = module_name(path)
    if module in FACADE:
        return
    for target, _ in imports(path):
        if target.split(".")[0] != "fastconv":
            continue
        assert target in MODULES, f"{module} imports {target}, which does not exist"
        if layer(module) == "__main__" or target.split(".")[1:2] == [layer(module)]:
            continue
        if target in FACADE:
            assert HEIGHT[layer(module)] > HEIGHT["autograd"], f"{module} imports the façade"
            continue
        assert HEIGHT[layer(target)] < HEIGHT[layer(module)], f"{module} imports {target}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_kernels_are_made_below_the_algorithms(path):
    """The command line alone looks at what is compiled."""
    module = module_name(path)
    if module not in FACADE and HEIGHT["plans"] < HEIGHT[layer(module)] < HEIGHT["cli"]:
        assert "fastconv.core.jit" not in {target for target, _ in imports(path)}


def _needs(when):
    """Module → the modules of the package that it imports at one of these times."""
    return {
        name: {target for target, at in imports(path) if at in when and target in MODULES}
        for name, path in MODULES.items()
    }


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_from_elsewhere_are_declared(path):
    known = {"fastconv", *sys.stdlib_module_names, *RUNTIME, *OPTIONAL}
    for target, _ in imports(path):
        assert target.split(".")[0] in known, f"{module_name(path)} imports {target}"


def test_no_package_needs_an_optional_dependency():
    """Packages import without them: files that need them are imported in calls."""
    needs = _needs({"file"})
    waiting = [name for name, path in MODULES.items() if path.name.startswith("__")]
    seen = set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += needs[module]
            tops = {target.split(".")[0] for target, at in imports(MODULES[module]) if at == "file"}
            assert not tops & OPTIONAL, f"{module} imports {tops & OPTIONAL}"


def test_runtime_dependencies_are_the_declared_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert declared | {"llvmlite"} == RUNTIME


def test_no_cycles_between_files():
    graph = {name: targets - {name} for name, targets in _needs({"file", "call"}).items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names it


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_every_file_belongs_to_a_layer(path):
    module = module_name(path)
    assert module in FACADE or layer(module) in HEIGHT
    assert (path.parent / "__init__.py").exists(), "a folder without __init__.py is no package"


def test_oracle_knows_nothing_of_fastconv():
    for name in ("oracle.py", "cases.py"):
        targets = {target for target, _ in imports(ROOT / "tests" / name)}
        assert not any(target.startswith("fastconv") for target in targets)
