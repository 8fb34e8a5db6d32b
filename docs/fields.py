"""Writes docs/fields.md from the committed results of benchmarks/fields.py: ``python docs/fields.py``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "benchmarks"))
DEEPEST = 2  # levels of nested figures that the page shows; the rest is in the JSON


def main(results: Path = RESULTS, folder: Path = ROOT / "docs") -> None:
    """Writes fields.md into the folder."""
    from fields import ROWS, row_digest

    parts = [
        "# Fields and applications",
        "Written by `python docs/fields.py` from `benchmarks/results/cpu-field-*.json`; do not edit. Each row is measured by "
        "`python benchmarks/fields.py FOLDER --rows ROW --json benchmarks/results`; one whose sources have changed since is marked "
        "as stale.",
    ]
    lines = ["| row | asked | holds | found |", "| --- | --- | --- | --- |"]
    for name in ROWS:
        path = results / f"cpu-field-{name}.json"
        if not path.is_file():
            lines.append(f"| {name} | – | not measured | – |")
            continue
        row = json.loads(path.read_text(encoding="utf-8"))
        stale = "" if row["digest"] == row_digest(name) else " (stale)"
        asked = ", ".join(figures(row["target"])) if isinstance(row["target"], dict) else row["target"]
        found = ", ".join(figures({k: v for k, v in row.items() if k not in NOT_SHOWN}))
        lines.append(f"| {name}{stale} | {asked} | {'yes' if row['holds'] else '**no**'} | {found} |")
        if draw := getattr(import_module(f"field_rows.{name}"), "draw", None):
            parts.append(f"![{name}]({draw(row, folder)})")
        machine = row["machine"]
        parts.append(f"{name}: {row['date']}, torch {row['torch']}, {machine['cpu']}, {machine['threads']} threads, `{row['digest']}`.")
    parts.insert(2, "\n".join(lines))
    parts[3:3] = side_by_side(results)
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
        f"## On the same scene\n\nThe built-in scene, {found['minutes']:g} minutes each, preset {found['preset']}, held-out views on white, by "
        "`python benchmarks/side_by_side.py --json benchmarks/results/cpu-side-by-side.json --picture docs/fields.png`; "
        f"{found['date']}, torch {found['torch']}, {machine['cpu']}, {machine['threads']} threads.",
        table(rows).rstrip(),
        "![fields side by side](fields.png)\n\nBelow each picture its errors.",
        "## When and where",
    ]


NOT_SHOWN = "schema date machine torch sources row holds target digest seeds runs".split()


def figures(row: dict, before: str = "", depth: int = 0) -> Iterator[str]:
    """Names and numbers of a row, nested ones with the names of what they are in; lists stay in the JSON."""
    for name, value in row.items():
        if isinstance(value, dict) and depth + 1 < DEEPEST:
            yield from figures(value, f"{before}{name} ", depth + 1)
        elif isinstance(value, bool | str):
            yield f"{before}{name} {value}"
        elif isinstance(value, int | float):
            yield f"{before}{name} {value:.4g}"


if __name__ == "__main__":
    main()
