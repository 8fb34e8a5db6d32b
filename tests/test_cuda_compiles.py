"""The CUDA side builds wherever nvcc is, GPU or not: kernels/*.cu see no torch."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[1] / "csrc"
NVCC = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
TARGETS = ["arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90"]
WITHOUT_STACK = {"mlp": r"mlp_(forward|backward)_kernel"}
"""Kernels by source whose arrays must all be registers: one that is indexed at run time goes through memory in every loop."""


@pytest.mark.skipif(NVCC is None, reason="nvcc was not found")
@pytest.mark.parametrize("source", sorted(CSRC.glob("kernels/*.cu")), ids=lambda p: p.stem)
def test_compiles_for_sm_80_sm_90_and_ptx_without_spills(source, tmp_path):
    command = [NVCC, "-std=c++17", "-O3", "-fmad=false", "--expt-relaxed-constexpr", "-I", str(CSRC), "-c", str(source)]
    command += ["-Xptxas", "-v", "--threads=2", *(word for target in TARGETS for word in ("-gencode", target))]
    result = subprocess.run([*command, "-o", str(tmp_path / "kernel.o")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    report = re.findall(
        r"Function properties for (\S+)\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads",
        result.stderr,
    )
    assert len(report) == result.stderr.count("Function properties for")
    assert report and all(spills == ["0", "0"] for _, _, *spills in report), report
    if source.stem in WITHOUT_STACK:
        stacks = [stack for name, stack, *_ in report if re.search(WITHOUT_STACK[source.stem], name)]
        assert stacks and set(stacks) == {"0"}, report
