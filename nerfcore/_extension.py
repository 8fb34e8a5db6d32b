"""Builds the C++/CUDA kernels on first use, never at import, and loads them.

``unavailable(device)`` is what operations ask; after it returned None, ``torch.ops.nerfcore.*`` exist. A finished
library is cached under a digest of everything that went into it (sources, flags, compiler, torch, Python, SIMD level
and GPU), so a second process only opens a file. Object files are kept beside it, so that an edit recompiles what it
touches.

Environment: NERFCORE_CACHE (folder of the cache), NERFCORE_DISABLE_KERNELS=1 (use the reference), CXX, CUDA_HOME,
MAX_JOBS, and torch's ATEN_CPU_CAPABILITY (avx2 or default: a lower SIMD level than the CPU has).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from nerfcore import _toolchain
from nerfcore.errors import BuildError

NAME = "nerfcore_kernels"

_guard = threading.RLock()
_module: ModuleType | None = None
_failure: str | None = None  # why nothing could be loaded
_cuda_failure: str | None = None  # why the loaded module holds no CUDA kernels, where they were attempted


def unavailable(device: str) -> str | None:
    """None if the kernels serve tensors on ``device`` ("cpu", "cuda"), else one sentence: what is missing, what to do.

    The first call compiles (about a minute) or opens the cache; every later one answers at once, a failure included.
    """
    if os.environ.get("NERFCORE_DISABLE_KERNELS", "0") not in ("", "0"):
        return "NERFCORE_DISABLE_KERNELS is set; unset it to use the compiled kernels"
    if device not in ("cpu", "cuda"):
        return f'there are no kernels for tensors on "{device}"; move them to "cpu" or "cuda"'
    try:
        module = load()
    except BuildError as error:
        return str(error)
    if device == "cuda" and not module.build_info()["cuda"]:
        return _cuda_failure or _toolchain.cuda_missing()
    return None


def load() -> ModuleType:
    """The pybind11 module of the kernels, compiled if need be. Raises BuildError; a failure is remembered."""
    global _module, _failure, _cuda_failure
    with _guard:
        if _module is None and _failure is None:
            try:
                if _toolchain.cuda_missing() is None:
                    try:
                        _module = _load(with_cuda=True)
                    except BuildError as error:
                        _cuda_failure = str(error)
                if _module is None:
                    _module = _load(with_cuda=False)
            except BuildError as error:
                _failure = str(error)
        if _module is None:
            raise BuildError(_failure)
        return _module


def use_huge_pages(tensor: torch.Tensor) -> None:
    """Asks the system for large pages under a CPU tensor that is read and written at random; it may refuse."""
    if tensor.device.type == "cpu" and unavailable("cpu") is None:
        load().use_huge_pages(tensor.data_ptr(), tensor.nbytes)


def source_dir() -> Path:
    """The folder ``csrc``: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent
    for folder in (package / "csrc", package.parent / "csrc"):
        if (folder / "bindings.cpp").is_file():
            return folder
    raise BuildError(f"the kernel sources are missing from {package}; install nerfcore again")


def sources(with_cuda: bool = False) -> list[Path]:
    """The translation units, sorted; ``kernels/*.cu`` only where CUDA is built."""
    root = source_dir()
    kernels = [*root.glob("kernels/*.cpp"), *(root.glob("kernels/*.cu") if with_cuda else ())]
    return [root / "bindings.cpp", root / "module.cpp", *sorted(kernels)]


def cache_dir() -> Path:
    """The folder of all builds: $NERFCORE_CACHE, or nerfcore under the user's cache folder."""
    if chosen := os.environ.get("NERFCORE_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "nerfcore"


def status() -> dict[str, object]:
    """Facts for ``nerfcore doctor``, compiling nothing.

    ``compiled``: a build for this machine is in the cache; ``problem`` and ``cuda_problem``: one sentence or None;
    ``build``: the facts that a loaded module states about itself.
    """
    facts: dict[str, object] = {
        "loaded": _module is not None,
        "compiled": False,
        "problem": _failure,
        "cache": str(cache_dir()),
        "torch": torch.__version__,
        "cpu": platform.machine(),
        "cuda_problem": _cuda_failure or _toolchain.cuda_missing(),
        "jobs": _toolchain.max_jobs(),
    }
    try:
        plan = Plan.for_this_machine(with_cuda=_toolchain.cuda_missing() is None and _cuda_failure is None)
    except BuildError as error:
        return facts | {"problem": str(error)}
    facts |= {
        "compiler": f"{plan.cxx} ({plan.cxx_version})",
        "flags": " ".join(plan.cflags),
        "library": str(plan.library),
        "compiled": plan.library.is_file(),
    }
    return facts | ({"build": _module.build_info()} if _module is not None else {})


@dataclass(frozen=True)
class Plan:
    """All that determines one build, read once: what is hashed is what is compiled, even if a file changes."""

    cxx: str
    cxx_version: str
    cflags: tuple[str, ...]
    cuda_flags: tuple[str, ...]  # empty: no CUDA
    ldflags: tuple[str, ...]
    root: Path  # csrc
    units: tuple[str, ...]  # translation units, relative to csrc
    files: dict[str, bytes]  # every source and header, relative to csrc

    @classmethod
    def for_this_machine(cls, with_cuda: bool) -> Plan:
        cxx, version = _toolchain.find_compiler()
        root = source_dir()
        paths = sorted(p for p in root.rglob("*") if p.suffix in (".h", ".cuh", ".cpp", ".cu"))
        cuda_flags = _toolchain.cuda_flags() if with_cuda else ()
        return cls(
            cxx=cxx,
            cxx_version=version,
            cflags=(*_toolchain.host_flags(), *(("-DNERFCORE_WITH_CUDA",) if with_cuda else ())),
            cuda_flags=cuda_flags,
            ldflags=(_toolchain.openmp_library("clang" in version),),
            root=root,
            units=tuple(p.relative_to(root).as_posix() for p in sources(with_cuda)),
            files={p.relative_to(root).as_posix(): p.read_bytes() for p in paths},
        )

    @property
    def machine_digest(self) -> str:
        """Of everything but the sources: object files may be shared where it agrees."""
        nvcc = _toolchain.nvcc_version() if self.cuda_flags else None
        parts = (self.cxx, self.cxx_version, self.cflags, self.cuda_flags, self.ldflags, nvcc)
        parts += (torch.__version__, torch.version.git_version, sysconfig.get_config_var("SOABI"))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr((self.machine_digest, self.units, self.files)).encode()).hexdigest()[:16]

    @property
    def library(self) -> Path:
        return cache_dir() / self.digest / f"{NAME}.so"

    @property
    def objects(self) -> Path:
        return cache_dir() / f"objects-{self.machine_digest}"


def _load(with_cuda: bool) -> ModuleType:
    plan = Plan.for_this_machine(with_cuda)
    if (module := _open(plan.library)) is not None:
        return module
    try:
        plan.objects.mkdir(parents=True, exist_ok=True)
        with _locked(plan.objects / "lock"):
            return _open(plan.library) or _build(plan)  # another process may have finished meanwhile
    except OSError as error:
        reason = error.strerror or error
        raise BuildError(
            f"the cache folder {cache_dir()} cannot be used ({reason}); set NERFCORE_CACHE to a writable folder"
        ) from error


def _open(library: Path) -> ModuleType | None:
    """Imports a finished library; one that is no library (a damaged disk, say) counts as absent."""
    if not library.is_file():
        return None
    spec = importlib.util.spec_from_file_location(NAME, library)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError:
        return None
    return module


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file lock that the system itself drops when this process ends, however it ends: it cannot go stale."""
    import fcntl  # absent on Windows, where _toolchain.find_compiler() has refused before

    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("nerfcore: another process is compiling the kernels; waiting for it\n")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(plan: Plan) -> ModuleType:
    """Compiles, imports, then publishes by a rename, while the lock is held.

    The object files of the last build are taken into a folder of this process and given back when the compiler has
    ended. A killed build leaves only a folder that nobody reads, its stray compilers and torch's own lock included.
    """
    from torch.utils import cpp_extension  # imports setuptools: too slow for the path where the cache answers

    snapshot, kept, work = plan.objects / "csrc", plan.objects / "kept", plan.objects / f"build-{os.getpid()}"
    for leftover in plan.objects.glob("build-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if kept.is_dir():
        kept.rename(work)
    work.mkdir(exist_ok=True)
    (work / "lock").unlink(missing_ok=True)
    _write_snapshot(plan.files, snapshot)

    _say("nerfcore: compiling the kernels for this machine (about a minute, once) ... ")
    start = time.monotonic()
    try:
        with _environment(CXX=plan.cxx, MAX_JOBS=str(_toolchain.max_jobs()), PATH=_toolchain.path_with_ninja()):
            module = cpp_extension.load(
                NAME,
                [str(snapshot / unit) for unit in plan.units],
                extra_cflags=list(plan.cflags),
                extra_cuda_cflags=list(plan.cuda_flags),
                extra_ldflags=list(plan.ldflags),
                extra_include_paths=[str(snapshot)],
                build_directory=str(work),
                with_cuda=bool(plan.cuda_flags),
            )
    except (RuntimeError, ImportError, OSError) as error:
        _say("failed\n")
        raise _build_error(plan, str(error).replace(str(snapshot), str(plan.root))) from error
    else:
        plan.library.parent.mkdir(exist_ok=True)
        built = work / f"{NAME}.so"
        with open(built, "rb") as file:
            os.fsync(file.fileno())  # a library that a power cut left half-written could not even be refused
        built.replace(plan.library)
        _say(f"done in {time.monotonic() - start:.0f} s\n")
        return module
    finally:
        work.rename(kept)


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _build_error(plan: Plan, output: str) -> BuildError:
    log = plan.objects / "build.log"
    log.write_text(output)
    lines = [line.strip() for line in output.splitlines()]
    first = next((line for line in lines if "error:" in line), lines[0] if lines else "no output")
    return BuildError(f"the kernels could not be compiled: {first} (full log: {log})")


def _write_snapshot(files: dict[str, bytes], folder: Path) -> None:
    """Makes ``folder`` hold exactly ``files``; what is equal stays untouched, so a newer time means other content."""
    for name, content in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            path.unlink()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


