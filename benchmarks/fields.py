"""Does every field of the lineage work?  python benchmarks/fields.py FOLDER [--rows nerf …] [--json FOLDER]

A row is an application of the issue's table, measured by the file of its name in ``field_rows``, which says how. FOLDER
holds the shared scenes, meshes and images. Each row writes a file of its own, ``cpu-field-ROW.json``, with what was
asked, what was found and whether it holds; ``python docs/fields.py`` makes the page of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import run, training_digest
from rows import Table

FIELDS = Table("field_rows", "field", lambda name, *modules: training_digest(*modules))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures what every field and application is asked to do.")
    parser.add_argument("folder", type=Path, help="where the scenes, meshes and images are")
    FIELDS.run(parser, argv)


if __name__ == "__main__":
    run(main)
