"""Does every prior work?  python benchmarks/priors.py FOLDER [--rows vae …] [--json FOLDER] [--pictures FOLDER]

A row is a system of the issue's table, measured by the file of its name in ``prior_rows``, which says how. FOLDER holds
the shared pictures. Each row writes a file of its own, ``cpu-prior-ROW.json``, with what was asked, what was found and
whether it holds, and a grid of what the prior draws, ``ROW.png``; ``python docs/priors.py`` makes the page of them.

``--scale gpu`` runs the same recipes on shapes with twice as many pixels along each side, in bfloat16 and compiled, and
on all of (Fashion-)MNIST that the folder holds, and writes ``gpu-prior-ROW.json``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import run, sources_digest
from rows import HERE, Table

SHARED = "nerfcore.priors.training", "nerfcore.priors.scores"
PICTURES = HERE.parent / "docs" / "priors"


def row_sources(name: str, *modules: str) -> str:
    """The digest of what every row depends on, of the prior that has the row's name, if there is one, and of the
    modules that the row names: priors are imported by their names alone, which tells no reader of imports."""
    return sources_digest(*SHARED, f"nerfcore.priors.{name}", *modules)


PRIORS = Table("prior_rows", "prior", row_sources, ("cpu", "gpu"))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measures what every prior is asked to do.")
    parser.add_argument("folder", type=Path, help="where the pictures are")
    parser.add_argument("--pictures", type=Path, help=f"also write grids of samples to this folder, such as {PICTURES}")
    PRIORS.run(parser, argv)


if __name__ == "__main__":
    run(main)
