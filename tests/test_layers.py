"""The layers of the design, read from the imports themselves: left never imports right."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nerfcore"

# Each part of the package, and the parts that it may import besides itself.
BASE = {"errors", "types", "version"}
ENGINE = BASE | {"files", "colours", "_extension", "ops"}
SCENES = ENGINE | {"cameras", "data", "synthetic"}
MAY_IMPORT = {
    "errors": set(),
    "version": set(),
    "files": {"errors"},
    "colours": set(),
    "types": {"errors", "version"},
    "_toolchain": {"errors"},
    "_extension": {"errors", "_toolchain"},
    "ops": BASE | {"_extension"},
    "testing": BASE | {"ops"},
    "metrics": BASE | {"ops"},
    "mesh": BASE | {"ops"},
    "cameras": BASE | {"_extension", "ops"},
    "blocks": BASE,
    "analysis": BASE | {"ops", "blocks"},
    "data": ENGINE | {"cameras", "synthetic", "_toolchain"},
    "synthetic": ENGINE | {"cameras"},
    "sfm": ENGINE | {"cameras", "data"},
    "fields": SCENES | {"blocks"},
    "renderer": SCENES | {"fields"},
    "training": SCENES | {"fields", "renderer", "metrics"},
    "priors": ENGINE | {"blocks", "data", "training", "metrics"},
    "viewer": SCENES,
    "checkup": SCENES | {"training"},
    "applications": SCENES | {"fields", "renderer", "metrics", "mesh", "training", "viewer"},
    "cli": SCENES
    | {"sfm", "fields", "renderer", "metrics", "mesh", "training", "priors", "viewer", "checkup", "applications"},
}
FUSED = ("ngp",)
C_LAYERS = ("core", "math", "kernels", "bindings")


def parts_imported(path: Path) -> set[str]:
    """First-level parts of nerfcore that a file names in an import anywhere in it, also inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} imports relatively; write nerfcore.… in full")
        elif isinstance(node, ast.ImportFrom):
            whole = node.module == "nerfcore"
            names = [f"nerfcore.{alias.name}" for alias in node.names] if whole else [node.module]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("nerfcore.")}
    return found


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


PYTHON_FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")
C_FILES = sorted(p for layer in C_LAYERS for p in (ROOT / "csrc" / layer).rglob("*") if p.is_file())


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_imports_only_the_left(path):
    part = part_of(path)
    assert part in MAY_IMPORT, f"nerfcore/{part} has no line in the table of layers"
    allowed = MAY_IMPORT[part] | {part}
    wrong = {name for name in parts_imported(path) if name in MAY_IMPORT} - allowed
    assert not wrong, f"{path.relative_to(ROOT)} may not import {sorted(wrong)}"


def test_the_table_has_no_cycle():
    left, order = dict(MAY_IMPORT), []
    while ready := sorted(part for part, needs in left.items() if needs <= set(order)):
        order += ready
        left = {part: needs for part, needs in left.items() if part not in ready}
    assert not left, f"these parts wait for each other: {sorted(left)}"


@pytest.mark.parametrize("path", C_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_c_headers_include_only_the_left(path):
    text, layer = path.read_text(), path.relative_to(ROOT / "csrc").parts[0]
    allowed = C_LAYERS[: C_LAYERS.index(layer) + 1]
    for name in re.findall(r'#include "([^"]+)"', text):
        assert name.split("/")[0] in allowed, f"{path.relative_to(ROOT)} includes {name}"
    if layer != "bindings":
        assert not re.search(r"#include <(torch|ATen|c10|pybind11)/", text), f"{path.relative_to(ROOT)} sees torch"


def test_one_operation_has_one_stem():
    """Whatever has a kernel has its binding, its public function and its test under the same name. A kernel of its own
    for a part of an operation is STEM_PART.cpp; fused operations use the mathematics of others."""
    stems = [p.stem for p in (ROOT / "csrc" / "kernels").glob("*.cpp")]
    for stem in stems:
        if any(stem.startswith(f"{other}_") for other in stems):
            continue
        native = [f"csrc/{folder}/{stem}.h" for folder in ("math", "kernels", "bindings") if stem not in FUSED or folder != "math"]
        for name in (*native, f"nerfcore/ops/{stem}.py", f"tests/ops/test_{stem}.py"):
            assert (ROOT / name).is_file(), f"{stem} has no {name}"
