"""Does every field of the lineage work?  python benchmarks/fields.py FOLDER [--rows nerf …] [--json FOLDER]

A row is an application of the issue's table, measured by the file of its name in ``field_rows``, which says how. FOLDER
holds the shared scenes, meshes and images. Each row writes a file of its own, ``cpu-field-ROW.json``, with what was
asked, what was found and whether it holds; ``python docs/fields.py`` makes the page of them.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.pretty import Pretty

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import digest, header, require_kernels, run, training_digest, write_json

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
ROWS = tuple(sorted(path.stem for path in (HERE / "field_rows").glob("[!_]*.py")))


def row_digest(name: str) -> str:
    """Of the row's file, what it takes from beside it, and the modules of the package that it names."""
    module = import_module(f"field_rows.{name}")
    own = Path(module.__file__)
    beside = re.findall(r"^from \.(\w+) import", own.read_text(encoding="utf-8"), re.MULTILINE)
    files = {own, *(own.with_name(f"{stem}.py") for stem in beside)}
    return digest(files, training_digest(*module.MODULES))


def measure(name: str, options) -> dict:
    """One row of the table."""
    module = import_module(f"field_rows.{name}")
    return {"row": name, "target": module.TARGET, "digest": row_digest(name)} | module.measure(options)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures what every field and application is asked to do.")
    parser.add_argument("folder", type=Path, help="where the scenes, meshes and images are")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="where a row takes several")
    parser.add_argument("--share", type=float, default=1.0, help="of every budget of time or steps, to try a row out")
    parser.add_argument("--json", type=Path, help="also write each row to its file in this folder")
    options = parser.parse_args(argv)
    require_kernels()
    for name in options.rows:
        row = measure(name, options)
        if options.json:
            write_json(options.json / f"cpu-field-{name}.json", header() | row)
        Console().print(f"{name}: {'holds' if row['holds'] else 'does not hold'}", Pretty(row))


if __name__ == "__main__":
    run(main)
