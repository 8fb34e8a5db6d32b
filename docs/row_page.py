"""What the pages of tables of rows share: the table of what is asked and found, and when and where that was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
DEEPEST = 2  # levels of nested figures that a page shows; the rest is in the JSON
NOT_SHOWN = "schema date machine torch sources row holds target digest seeds runs".split()


def read_rows(table, results: Path) -> dict[str, dict]:
    """The results of the rows of a table that have been measured, by name; ``stale``: of older sources than there are."""
    found = {}
    for name in table.rows:
        if (path := results / table.file(name)).is_file():
            row = json.loads(path.read_text(encoding="utf-8"))
            found[name] = row | {"stale": row["digest"] != table.digest(name)}
    return found


def rows_table(table, found: dict[str, dict]) -> str:
    """Every row of a table, measured or not, as Markdown."""
    lines = ["| row | asked | holds | found |", "| --- | --- | --- | --- |"]
    for name in table.rows:
        if (row := found.get(name)) is None:
            lines.append(f"| {name} | – | not measured | – |")
            continue
        asked = ", ".join(figures(row["target"])) if isinstance(row["target"], dict) else row["target"]
        shown = ", ".join(figures({k: v for k, v in row.items() if k not in (*NOT_SHOWN, "stale")}))
        holds = ("yes" if row["holds"] else "**no**") + (" (a trial)" if "trial" in row else "")
        lines.append(f"| {name}{' (stale)' if row['stale'] else ''} | {asked} | {holds} | {shown} |")
    return "\n".join(lines)


def when_and_where(row: dict) -> str:
    """A line of a row's result."""
    machine = row["machine"]
    return f"{row['row']}: {row['date']}, torch {row['torch']}, {machine['cpu']}, {machine['threads']} threads, `{row['digest']}`."


def figures(row: dict, before: str = "", depth: int = 0) -> Iterator[str]:
    """Names and numbers of a row, nested ones with the names of what they are in; lists stay in the JSON."""
    for name, value in row.items():
        if isinstance(value, dict) and depth + 1 < DEEPEST:
            yield from figures(value, f"{before}{name} ", depth + 1)
        elif isinstance(value, bool | str):
            yield f"{before}{name} {value}"
        elif isinstance(value, int | float):
            yield f"{before}{name} {value:.4g}"
