"""What every test may use: one backend after another, and the shared captures."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest
import torch

from nerfcore import _extension, _toolchain
from nerfcore.errors import BuildError

REQUIRED = [name for name in os.environ.get("NERFCORE_REQUIRE", "").split(",") if name]


def absent(what: str, reason: str) -> None:
    """Skips the test, or fails it where NERFCORE_REQUIRE lists ``what``."""
    if what in REQUIRED:
        pytest.fail(f"NERFCORE_REQUIRE asks for {what}: {reason}")
    pytest.skip(f"{what}: {reason}")


@pytest.fixture
def compiler() -> None:
    """For tests that compile something."""
    try:
        _toolchain.find_compiler()
    except BuildError as error:
        absent("cpu", str(error))


@pytest.fixture
def kernels() -> ModuleType:
    """The compiled module."""
    if problem := _extension.unavailable("cpu"):
        absent("cpu", problem)
    return _extension.load()


@pytest.fixture
def kernel_backend() -> str:
    """For tests of what only a compiled kernel promises: "cpu"."""
    if problem := _extension.unavailable("cpu"):
        absent("cpu", problem)
    return "cpu"


@pytest.fixture(params=["reference", "cpu", "cuda"])
def backend(request) -> str:
    """Each implementation of an operation; one that this machine lacks is skipped with the reason."""
    name = request.param
    if name == "cuda" and not torch.cuda.is_available():
        absent(name, "PyTorch sees no CUDA GPU")
    if name != "reference" and (problem := _extension.unavailable(name)):
        absent(name, problem)
    return name


@pytest.fixture
def device(backend) -> torch.device:
    """Where the tensors of ``backend`` live; the reference is tested on the CPU."""
    return torch.device("cuda" if backend == "cuda" else "cpu")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared captures: $NERFCORE_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NERFCORE_DATA") or beside)
    if not folder.is_dir():
        absent("data", f"there is no folder {folder}; set NERFCORE_DATA")
    return folder
