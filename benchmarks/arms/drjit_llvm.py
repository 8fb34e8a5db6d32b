"""Dr.Jit on the CPU needs LLVM's library, which a system may keep under a name that Dr.Jit does not look for."""

from __future__ import annotations

import ctypes.util
import os
from pathlib import Path


def drjit_on(threads: int):
    """The module, on so many threads."""
    if "DRJIT_LIBLLVM_PATH" not in os.environ and (newest := _newest_llvm()):
        os.environ["DRJIT_LIBLLVM_PATH"] = newest
    import drjit

    drjit.set_thread_count(threads)
    return drjit


def _newest_llvm() -> str | None:
    folders = [Path(folder) for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")]
    found = [path for folder in folders for path in folder.glob("libLLVM*.so.*")]
    versions = {int(digits): path for path in found if (digits := _version(path.name))}
    return str(versions[max(versions)]) if versions else ctypes.util.find_library("LLVM")


def _version(name: str) -> str:
    """The leading number of "libLLVM.so.19.1" or "libLLVM-15.so.1"."""
    digits = name.removeprefix("libLLVM").lstrip("-.").removeprefix("so.")
    return digits.split(".")[0] if digits[:1].isdigit() else ""
