"""Puts what the package reads at run time inside it: the kernel sources, the built-in scene and the benchmarks.

Everything else is in pyproject.toml. A checkout (also an editable install) finds the folders beside the package.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
INSIDE = ("csrc", "assets/scene", "benchmarks")


class BuildWithSources(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in self._pairs():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, *(str(target) for _, target in self._pairs())]

    def _pairs(self):
        inside = Path(self.build_lib) / "nerfcore"
        for folder in INSIDE:
            for source in sorted((ROOT / folder).rglob("*")):
                if source.is_file() and "__pycache__" not in source.parts:
                    yield source, inside / source.relative_to(ROOT)


setup(cmdclass={"build_py": BuildWithSources})
