"""Writes docs/priors.md from the committed results of benchmarks/priors.py: ``python docs/priors.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))  # first, for it has a file of this name too
from row_page import DOCS, RESULTS, read_rows, rows_table, when_and_where

SYSTEMS = {  # columns of the table of systems: how each figure is shown
    "parameters": lambda count: f"{count / 1e6:.2f} M", "train_seconds": lambda seconds: f"{seconds / 60:.0f} min",
    "distance": "{:.2f}".format, "precision": "{:.2f}".format, "recall": "{:.2f}".format, "mean": "{:.1%}".format,
}  # fmt: skip


def systems(row: dict, arm: str) -> Iterator[tuple[str, dict]]:
    """What a row found of each network that draws, by the name it stands under; of several seeds the first."""
    if "distance" in row or "mean_error" in row:
        yield arm, row
    for name, value in row.items():
        if isinstance(value, list):
            value = value[0] if value else None
        if isinstance(value, dict) and name != "target":
            yield from systems(value, arm if name == "runs" else name)


def systems_table(found: dict[str, dict]) -> str:
    """Size, time and figures of all that draws, as Markdown."""
    lines = ["| row | system | size | trained | distance | precision | recall | accuracy |", "| --- " * 8 + "|"]
    for name, row in found.items():
        for arm, figures in systems(row, name):
            cells = (show(figures[figure]) if figure in figures else "" for figure, show in SYSTEMS.items())
            lines.append(f"| {name}{' (stale)' if row['stale'] else ''} | {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
        "## All systems",
        "Every network that draws, as the rows above found it; of several seeds the first. Accuracy is the mean of what captions ask "
        "for. Figures of different data (`fashion`: distances of autoencoders, GANs and unconditional priors; `shapes`: those with an "
        "accuracy) are not to be compared.",
        systems_table(found),
    ]
    for name, row in found.items():
        lines = [f"## {name}"]
        if (folder / "priors" / f"{name}.png").is_file():
            lines.append(f"![{name}](priors/{name}.png)")
        parts += [*lines, when_and_where(row)]
    (folder / "priors.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
