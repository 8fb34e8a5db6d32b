"""`nerfcore build`"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Build:
    """Compiles the kernels for this machine ahead of time; a finished build is only checked."""

    def run(self) -> int:
        from nerfcore import _extension
        from nerfcore.cli.console import print_table

        _extension.load()
        library = str(_extension.status()["library"])
        print_table([("kernels", library), ("CUDA", _extension.unavailable("cuda") or "compiled")])
        return 0
