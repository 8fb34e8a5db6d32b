"""Writes docs/priors.md from the committed results of benchmarks/priors.py: ``python docs/priors.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))  # first, for it has a file of this name too
from row_page import DOCS, RESULTS, read_rows, rows_table, when_and_where


def main(results: Path = RESULTS, folder: Path = DOCS) -> None:
    """Writes priors.md into the folder, with the grids of samples that are in its ``priors``."""
    from priors import PRIORS

    found = read_rows(PRIORS, results)
    parts = [
        "# Priors",
        "Written by `python docs/priors.py` from `benchmarks/results/cpu-prior-*.json`; do not edit. Each row is measured by "
        "`python benchmarks/priors.py FOLDER --rows ROW --json benchmarks/results --pictures docs/priors`; one whose sources "
        "have changed since is marked as stale.",
        "`distance` is the Fréchet distance between 2,000 samples and 2,000 held-out pictures in the 64 features of a classifier "
        "that was trained on the training split (`nerfcore/metrics/features.py`): no FID, and to be compared within one data "
        "set only. `floor` is that of the training split, `ceiling` that of a Gaussian of its pixels. Accuracies are what a judge "
        "says that was trained on pictures and with a seed of its own; below 95 % on real pictures its word is void.",
        rows_table(PRIORS, found),
    ]
    for name, row in found.items():
        lines = [f"## {name}"]
        if (folder / "priors" / f"{name}.png").is_file():
            lines.append(f"![{name}](priors/{name}.png)")
        parts += [*lines, when_and_where(row)]
    (folder / "priors.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
