"""`nerfcore bench`"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nerfcore.errors import NerfcoreError


@dataclass
class Bench:
    """Times every operation: kernel against plain PyTorch, eager and compiled."""

    json: Path | None = None
    """Also write the figures to this file."""
    ops: list[str] = field(default_factory=list)
    """Only these operations, such as composite hash_grid."""

    def run(self) -> int:
        import runpy

        words = ["--json", str(self.json)] if self.json else []
        runpy.run_path(str(benchmark("ops")))["main"]([*words, *(["--ops", *self.ops] if self.ops else [])])
        return 0


def benchmark(name: str) -> Path:
    """The script ``benchmarks/NAME.py``: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "benchmarks", package.parent / "benchmarks"):
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    raise NerfcoreError(f"{package}: the benchmark {name}.py is missing; run this command in a checkout of nerfcore")
