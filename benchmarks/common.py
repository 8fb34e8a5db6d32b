"""What the benchmarks share: the header of their JSON, and digests of what their figures depend on."""

from __future__ import annotations

import ast
import datetime
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import torch

from nerfcore import _extension
from nerfcore.errors import NerfcoreError, OutputError

SCHEMA = 1


def run(main: Callable[[], None]) -> None:
    """Runs a benchmark's main; an error of ours is one sentence and a non-zero exit."""
    try:
        main()
    except NerfcoreError as error:
        sys.exit(str(error))


def require_kernels() -> None:
    """Raises NerfcoreError where there is nothing to compare the reference with."""
    if problem := _extension.unavailable("cpu"):
        raise NerfcoreError(f"the benchmark needs the compiled kernels: {problem}")


def earlier_rows(options, name: str = "row") -> dict[str, dict]:
    """The rows of the file ``options.json``, by name, if ``options.resume`` asks for them and there are any."""
    if not (options.resume and options.json and options.json.is_file()):
        return {}
    return {row[name]: row for row in json.loads(options.json.read_text(encoding="utf-8"))["rows"]}


def header() -> dict:
    """When, where and of which sources the figures are."""
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "threads": torch.get_num_threads(),
            "simd": _extension.load().build_info()["simd"],
            "load": round(os.getloadavg()[0], 2),
        },
        "torch": torch.__version__,
        "sources": training_digest(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def package_digest() -> str:
    """Of all of the package and of its kernels."""
    package = Path(_extension.__file__).parent
    return digest([*package.rglob("*.py"), *(p for p in _extension.source_dir().rglob("*") if p.is_file())])


def training_digest(*modules: str) -> str:
    """Of what figures of training on a CPU depend on, and those of other modules of the package, if any are named."""
    return sources_digest("nerfcore.training.run", *modules)


@cache
def sources_digest(*modules: str) -> str:
    """Of modules of the package and all that they import, with the kernels of the operations among it."""
    python = imported(*modules)
    ops = [path.stem for path in python if path.parent.name == "ops"]
    return digest([*python, *kernel_sources(*ops)])


def op_digest(op: str, *benchmark: Path) -> str:
    """Of what the figures of one operation depend on: its sources, with all that they include, and the benchmark."""
    package, timing = Path(_extension.__file__).parent, Path(__file__).with_name("timing.py")
    python = [package / "types.py", package / "ops" / "_dispatch.py", package / "ops" / f"{op}.py"]
    return digest([*python, timing, *benchmark, *kernel_sources(op)])


def kernel_sources(*ops: str) -> set[Path]:
    """The sources of operations on a CPU, with all that they include."""
    native = _extension.source_dir()
    names = [name for op in ops for name in (f"kernels/{op}.cpp", f"kernels/{op}_*.cpp", f"bindings/{op}.h")]
    return included([path for name in names for path in native.glob(name)], native)


def imported(*modules: str) -> set[Path]:
    """The files of modules of the package, and of all that they import from it, inside functions as well."""
    root, found, todo = Path(_extension.__file__).parents[1], set(), list(modules)
    while todo:
        parts = todo.pop().split(".")
        for i in range(1, len(parts) + 1):  # a module's packages are imported with it
            stem = root.joinpath(*parts[:i])
            file = next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)
            if file is not None and file not in found:
                found.add(file)
                todo += [name for name in _names_imported(file) if name.split(".")[0] == "nerfcore"]
    return found


def _names_imported(file: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]  # of a module or in one
    return names


def included(files: Iterable[Path], root: Path) -> set[Path]:
    """The files, and those under root that they include."""
    found, todo = set(), list(files)
    while todo:
        if (file := todo.pop()) not in found:
            found.add(file)
            names = re.findall(r'^#include "(.+)"', file.read_text(encoding="utf-8"), re.MULTILINE)
            todo += [root / name for name in names if (root / name).is_file()]
    return found


def digest(paths: Iterable[Path], *words: str) -> str:
    """Of the names and contents of files, and of words."""
    parts = [(path.name, path.read_bytes()) for path in sorted(paths)]
    return hashlib.sha256(repr([*parts, *words]).encode()).hexdigest()[:16]


def write_json(path: Path, result: dict) -> None:
    """Raises OutputError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another --json") from error
