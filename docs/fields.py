"""Writes docs/fields.md from the committed results of benchmarks/fields.py: ``python docs/fields.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))  # first, for it has a file of this name too
from row_page import DOCS, RESULTS, read_rows, rows_table, when_and_where


def main(results: Path = RESULTS, folder: Path = DOCS) -> None:
    """Writes fields.md into the folder."""
    from fields import FIELDS

    found = read_rows(FIELDS, results)
    parts = [
        "# Fields and applications",
        "Written by `python docs/fields.py` from `benchmarks/results/cpu-field-*.json`; do not edit. Each row is measured by "
        "`python benchmarks/fields.py FOLDER --rows ROW --json benchmarks/results`; one whose sources have changed since is marked "
        "as stale.",
        rows_table(FIELDS, found),
        *side_by_side(results),
    ]
    for name, row in found.items():
        if draw := getattr(FIELDS.module(name), "draw", None):
            parts.append(f"![{name}]({draw(row, folder)})")
        parts.append(when_and_where(row))
    (folder / "fields.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def side_by_side(results: Path) -> list[str]:
    """The table and the picture of all fields on one scene."""
    from side_by_side import row_digest

    from nerfcore.applications.compare import table

    path = results / "cpu-side-by-side.json"
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = [row | ({} if row["digest"] == row_digest(row["field"]) else {"field": f"{row['field']} (stale)"}) for row in found["rows"]]
    machine = found["machine"]
    return [
        f"## On the same scene\n\nThe built-in scene, {found['minutes']:g} minutes each, preset {found['preset']}, {rows[0]['num_eval_images']} held-out views on white, by "
        "`python benchmarks/side_by_side.py --json benchmarks/results/cpu-side-by-side.json --picture docs/fields.png`; "
        f"{found['date']}, torch {found['torch']}, {machine['cpu']}, {machine['threads']} threads.",
        table(rows).rstrip(),
        "![fields side by side](fields.png)\n\nBelow each picture its errors.",
        "## When and where",
    ]


if __name__ == "__main__":
    main()
