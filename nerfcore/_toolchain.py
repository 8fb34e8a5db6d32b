"""What a build of the kernels finds on this machine: compilers, their flags, and how many may run at once."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import torch

from nerfcore.errors import BuildError

BYTES_PER_JOB = 1.5 * 2**30  # what the compiler needs at most for the file that includes torch's headers


@functools.cache
def find_compiler() -> tuple[str, str]:
    """The C++ compiler as ($CXX or a path, first line of its version); BuildError if a build cannot start here."""
    if sys.platform == "win32":
        raise BuildError("the compiled kernels need Linux or macOS; on Windows use WSL")
    install = "install one (Debian/Ubuntu: apt-get install g++; macOS: xcode-select --install)"
    chosen = os.environ.get("CXX")
    if chosen:
        words = shlex.split(chosen)
        if not words or shutil.which(words[0]) is None:
            raise BuildError(f"the C++ compiler named by CXX ({chosen}) was not found; unset CXX or {install}")
    else:
        chosen = shutil.which("g++") or shutil.which("clang++")
        if chosen is None:
            raise BuildError(f"no C++ compiler (g++ or clang++) was found; {install}")
        words = [chosen]
    try:
        result = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
        version = result.stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise BuildError(f"the C++ compiler {chosen} does not run; {install}") from error
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise BuildError(
            f"Python's headers were not found ({header}); install them (Debian/Ubuntu: apt-get install python3-dev)"
        )
    if shutil.which("ninja", path=path_with_ninja()) is None:
        raise BuildError("the build tool ninja was not found; install it (pip install ninja)")
    return chosen, version


@functools.cache
def path_with_ninja() -> str:
    """$PATH with the folder of pip's ninja in front: the environment need not be activated."""
    path = os.environ.get("PATH", os.defpath)
    if importlib.util.find_spec("ninja") is None:
        return path
    import ninja

    return os.pathsep.join((ninja.BIN_DIR, path))


SIMD_FLAGS = {
    "AVX512": (
        "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c", "-mprefer-vector-width=512",
    ),
    "AVX2": ("-mavx2", "-mfma", "-mf16c"),
}
"""By the name that torch has for what the CPU can do; any other is the least that the compiler assumes (SSE2, NEON)."""


def host_flags() -> tuple[str, ...]:
    """Strict floating point: the same roundings on every back end. torch itself adds the language standard it needs.

    The instruction set is named, not ``native``: a cached library runs on every machine of the same level, and
    ATEN_CPU_CAPABILITY, which chooses torch's own kernels, chooses ours too.
    """
    flags = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    flags += ["-Xpreprocessor", "-fopenmp"] if sys.platform == "darwin" else ["-fopenmp"]
    return (*flags, *SIMD_FLAGS.get(torch.backends.cpu.get_cpu_capability(), ()))


def openmp_library(clang: bool) -> str:
    """The OpenMP runtime to link: the very file that torch has loaded, so that a process holds one pool of threads.

    Without a runtime in torch's folder, and for clang on Linux, which cannot use GNU's, the compiler's own.
    """
    if not (clang and sys.platform == "linux"):
        folder = Path(torch.__file__).parent / "lib"
        for pattern in ("libgomp*", "libiomp5*", "libomp*"):
            for path in sorted(folder.glob(pattern)):
                return str(path)
    return "-lomp" if sys.platform == "darwin" else "-fopenmp"


def cuda_missing() -> str | None:
    """None if CUDA kernels can be built here, else one sentence that says why not."""
    if torch.version.cuda is None:
        return "this PyTorch was built without CUDA; install a CUDA build of torch (see pytorch.org)"
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA GPU; check the driver with nvidia-smi"
    if _nvcc() is None:
        return f"nvcc was not found; install the CUDA toolkit {torch.version.cuda}, or set CUDA_HOME to its folder"
    return None


def _nvcc() -> str | None:
    homes = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"))
    for home in filter(None, homes):
        if found := shutil.which("nvcc", path=os.path.join(home, "bin")):
            return found
    return shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


def nvcc_version() -> str:
    return subprocess.run([_nvcc(), "--version"], capture_output=True, text=True, check=False).stdout


def cuda_flags() -> tuple[str, ...]:
    """Device code for the GPUs that are present, and PTX for the newest, so that it outlives them."""
    found = {torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    archs = [f"{major}{minor}" for major, minor in sorted(found)]
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in archs]
    ptx = f"-gencode=arch=compute_{archs[-1]},code=compute_{archs[-1]}"
    return ("-O3", "-std=c++17", "-fmad=false", "--expt-relaxed-constexpr", *codes, ptx)


def max_jobs() -> int:
    """Compilers to run at once: $MAX_JOBS, else the CPUs this process may use, as far as free memory allows."""
    if (chosen := os.environ.get("MAX_JOBS", "")).isdigit():
        return max(1, int(chosen))
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cpus, available_memory() / BYTES_PER_JOB)))


def available_memory() -> float:
    """Bytes that may be allocated now, by the system and by the container's limit; infinite where neither tells."""
    free = float("inf")
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(stat["inactive_file"]))  # cached files make way
    return free
