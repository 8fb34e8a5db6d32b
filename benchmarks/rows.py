"""Tables of rows, each measured by the file of its name in a folder, and written to a file of its own.

A row's file has ``TARGET`` (a dict of bounds, or a sentence), ``MODULES`` (those of the package that its figures depend
on) and ``measure(options)``, which returns a dict with ``holds``. What rows share is in files with an underscore before
their names.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from common import digest, header, require_kernels, write_json
from rich.console import Console
from rich.pretty import Pretty

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Table:
    """folder: of the rows' files. prefix: of the files of results, between the scale and a row's name. sources: takes a
    row's name and the modules that it names, gives the digest of these and of what all rows of the table depend on.
    scales: what --scale may say."""

    folder: str
    prefix: str
    sources: Callable[..., str]
    scales: tuple[str, ...] = ("cpu",)

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows."""
        return tuple(sorted(path.stem for path in (HERE / self.folder).glob("[!_]*.py")))

    def module(self, name: str):
        """Of a row."""
        return import_module(f"{self.folder}.{name}")

    def file(self, name: str, scale: str = "cpu") -> str:
        """Name of the file of a row's result."""
        return f"{scale}-{self.prefix}-{name}.json"

    def digest(self, name: str) -> str:
        """Of the row's file, what it takes from beside it, and the modules of the package that it depends on."""
        module = self.module(name)
        files, todo = set(), [Path(module.__file__)]
        while todo:
            if (own := todo.pop()) not in files:
                files.add(own)
                beside = re.findall(r"^from \.(\w+) import", own.read_text(encoding="utf-8"), re.MULTILINE)
                todo += [own.with_name(f"{stem}.py") for stem in beside]
        return digest(files, self.sources(name, *module.MODULES))

    def measure(self, name: str, options) -> dict:
        """One row of the table; ``trial``: the share of its budgets, where that is not all."""
        module = self.module(name)
        trial = {} if options.share == 1 else {"trial": options.share}
        return {"row": name, "target": module.TARGET, "digest": self.digest(name)} | trial | module.measure(options)

    def run(self, parser: argparse.ArgumentParser, argv: list[str] | None) -> None:
        """Adds the options that all tables have, measures the rows that they name, and shows and writes each."""
        rows = self.rows
        parser.add_argument("--rows", nargs="+", choices=rows, default=rows, metavar="ROW", help=", ".join(rows))
        parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="where a row takes several")
        parser.add_argument("--share", type=float, default=1.0, help="of every budget of time or steps, for trials")
        parser.add_argument("--json", type=Path, help="also write each row to its file in this folder")
        parser.add_argument("--scale", choices=self.scales, default=self.scales[0], help="what machine budgets are for")
        options = parser.parse_args(argv)
        require_kernels()
        for name in options.rows:
            row = self.measure(name, options)
            if options.json:
                write_json(options.json / self.file(name, options.scale), header() | row)
            Console().print(f"{name}: {'holds' if row['holds'] else 'does not hold'}", Pretty(row))
