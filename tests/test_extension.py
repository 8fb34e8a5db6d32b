"""The build: that it happens once, when it must, in the open, and that whatever goes wrong is said in one sentence.

The mechanics are tested on a tiny source tree that compiles in a second, each case in processes and a cache of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from nerfcore import _extension, _toolchain
from nerfcore.ops.intersect import intersect_box

ROOT = Path(__file__).resolve().parents[1]
TINY_MODULE = """
#include <Python.h>
#include "core/answer.h"
static PyObject* answer(PyObject*, PyObject*) { return PyLong_FromLong(ANSWER); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "tiny", nullptr, -1, methods};
PyMODINIT_FUNC PyInit_nerfcore_kernels() { return PyModule_Create(&module); }
"""
USE_TINY = """
import sys
from pathlib import Path
from nerfcore import _extension as extension
extension.source_dir = lambda: Path({tree!r})
extension._toolchain.host_flags = lambda: ("-O0", "-fopenmp", *{flags!r})
"""


def python(code: str, **environment: str) -> subprocess.Popen:
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], env=settings, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


def finish(process: subprocess.Popen) -> tuple[str, str]:
    """Waits for success; returns what was printed on stdout and stderr."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip(), err


class Tiny:
    """A source tree of one value, with a cache, used by processes of its own."""

    def __init__(self, folder: Path):
        self.tree, self.cache = folder / "tiny", folder / "cache"
        (self.tree / "kernels").mkdir(parents=True)
        (self.tree / "core").mkdir()
        (self.tree / "bindings.cpp").write_text("")
        (self.tree / "module.cpp").write_text(TINY_MODULE)
        self.set_answer("42")

    def set_answer(self, value: str) -> None:
        (self.tree / "core" / "answer.h").write_text(f"#define ANSWER {value}\n")

    def start(self, code: str = "print(extension.load().answer())", flags=(), **environment: str) -> subprocess.Popen:
        prepare = USE_TINY.format(tree=str(self.tree), flags=tuple(flags))
        return python(prepare + code, NERFCORE_CACHE=str(self.cache), **environment)

    def answer(self, **options) -> tuple[str, bool]:
        """What a new process gets, and whether it had to compile."""
        out, err = finish(self.start(**options))
        return out, "compiling the kernels" in err

    def libraries(self) -> list[Path]:
        return sorted(self.cache.glob(f"*/{_extension.NAME}.so"))


@pytest.fixture
def tiny(tmp_path, compiler) -> Tiny:
    return Tiny(tmp_path)


# --- the real kernels


def test_the_kernels_are_built_and_used_on_the_cpu(kernels):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        intersect_box(torch.zeros(8, 3), torch.ones(8, 3), torch.zeros(3), torch.ones(3))
    assert "nerfcore::intersect_forward" in {event.name for event in profile.events()}


def test_openmp_is_on(kernels):
    assert kernels.build_info()["openmp"] > 0
    assert kernels.threads_used(2) == 2


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_one_openmp_runtime_serves_torch_and_the_kernels(kernels):
    code = """
import torch
from nerfcore import _extension
_extension.load().threads_used(2)
torch.set_num_threads(2)
torch.rand(500, 500) @ torch.rand(500, 500)
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
print(*{path for path in mapped if any(name in path for name in ("libgomp", "libomp", "libiomp"))})
"""
    runtimes, _ = finish(python(code))
    assert len(runtimes.split()) == 1, runtimes


def test_a_cached_build_opens_quickly_and_silently(kernels):
    code = """
import time, torch
from nerfcore import _extension
start = time.perf_counter()
assert _extension.unavailable("cpu") is None
print(time.perf_counter() - start)
"""
    runs = [finish(python(code)) for _ in range(3)]
    assert all(err == "" for _, err in runs)
    assert min(float(out) for out, _ in runs) < 0.1


def test_status_names_what_a_doctor_asks():
    facts = _extension.status()
    assert {"cache", "compiled", "cuda_problem", "jobs", "loaded", "problem", "torch"} <= facts.keys()
    assert facts["compiled"] or facts["problem"]


def test_every_kernel_is_compiled():
    names = {path.relative_to(_extension.source_dir()).as_posix() for path in _extension.sources(with_cuda=True)}
    assert {"bindings.cpp", "module.cpp", "kernels/intersect.cpp", "kernels/intersect.cu"} <= names


# --- when it compiles, and when not


def test_importing_compiles_nothing(tmp_path):
    finish(python("import nerfcore, nerfcore.ops.intersect", NERFCORE_CACHE=str(tmp_path / "cache")))
    assert not (tmp_path / "cache").exists()


def test_compiles_once_then_again_for_a_changed_source_or_flag(tiny):
    assert tiny.answer() == ("42", True)
    assert tiny.answer() == ("42", False)
    tiny.set_answer("43")
    assert tiny.answer() == ("43", True)
    tiny.set_answer("42")
    assert tiny.answer() == ("42", False)  # the first build is still there
    assert tiny.answer(flags=["-DEXTRA"]) == ("42", True)
    assert len(tiny.libraries()) == 3


def test_an_edit_with_an_older_time_is_still_compiled(tiny):
    assert tiny.answer() == ("42", True)
    tiny.set_answer("43")
    os.utime(tiny.tree / "core" / "answer.h", (1, 1))
    assert tiny.answer() == ("43", True)


def test_two_processes_at_once_compile_once(tiny):
    results = [finish(process) for process in [tiny.start(), tiny.start()]]
    assert [out for out, _ in results] == ["42", "42"]
    assert sum("about a minute, once" in err for _, err in results) == 1
    assert len(tiny.libraries()) == 1


def test_a_killed_build_leaves_nothing_broken(tiny):
    (tiny.tree / "bindings.cpp").write_text("#include <regex>\n" * 2 + "std::regex slow(\"a\");")
    process = tiny.start()
    while not list(tiny.cache.glob("objects-*/build-*/build.ninja")):  # the compilers are running
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert tiny.libraries() == []
    assert tiny.answer() == ("42", True)
    assert list(tiny.cache.glob("objects-*/build-*")) == []


def test_a_stale_lock_of_torch_is_no_obstacle(tiny):
    assert tiny.answer() == ("42", True)
    (kept,) = tiny.cache.glob("objects-*/kept")
    (kept / "lock").touch()
    tiny.set_answer("43")
    assert tiny.answer() == ("43", True)


def test_a_damaged_library_is_built_anew(tiny):
    assert tiny.answer() == ("42", True)
    (library,) = tiny.libraries()
    library.write_bytes(b"not a library")
    assert tiny.answer() == ("42", True)


# --- what is said when it cannot be


def test_a_compile_error_is_quoted_with_its_log(tiny):
    tiny.set_answer("missing_name")
    code = """
import torch
first, second = extension.unavailable("cpu"), extension.unavailable("cpu")
assert first == second
print(first)
"""
    out, err = finish(tiny.start(code))
    assert "error: " in out and "missing_name" in out and "\n" not in out
    assert str(tiny.tree) in out and "missing_name" in Path(out.split("full log: ")[1].rstrip(")")).read_text()
    assert err.count("compiling the kernels") == 1 and "failed" in err
    tiny.set_answer("44")
    assert tiny.answer() == ("44", True)


USE_REFERENCE = """
import warnings, torch
from nerfcore.errors import BackendError
from nerfcore.ops.intersect import intersect_box
arguments = torch.zeros(1, 3), torch.ones(1, 3), torch.zeros(3), torch.ones(3)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert intersect_box(*arguments)[1].item() == 1
assert len(caught) == 1, caught
try:
    intersect_box(*arguments, backend="cpu")
except BackendError as error:
    assert str(error).startswith('backend="cpu" cannot run: ')
    print(caught[0].message)
"""


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PATH": "", "CXX": ""}, "no C++ compiler (g++ or clang++) was found; install one (Debian/Ubuntu: apt-get"),
        ({"CXX": "/nowhere/g++"}, "the C++ compiler named by CXX (/nowhere/g++) was not found; unset CXX or install"),
        ({"CXX": "false"}, "the C++ compiler false does not run; install one"),
        ({"NERFCORE_DISABLE_KERNELS": "1"}, "NERFCORE_DISABLE_KERNELS is set; unset it to use the compiled kernels"),
        ({"NERFCORE_CACHE": "/dev/null/cache"}, "the cache folder /dev/null/cache cannot be used (Not a directory)"),
    ],
    ids=["no compiler", "CXX names nothing", "CXX is no compiler", "disabled", "no cache"],
)
def test_without_kernels_the_reference_runs_after_one_sentence(environment, sentence, tmp_path):
    out, _ = finish(python(USE_REFERENCE, **{"NERFCORE_CACHE": str(tmp_path), **environment}))
    assert out.startswith("nerfcore runs on its slower PyTorch reference: " + sentence)
    assert "\n" not in out


def test_another_device_is_named():
    assert _extension.unavailable("mps") == 'there are no kernels for tensors on "mps"; move them to "cpu" or "cuda"'


def test_cuda_without_a_gpu_says_why(kernels):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert _extension.unavailable("cuda").count(";") == 1


# --- SIMD levels


@pytest.mark.parametrize("level, has, has_not", [("AVX512", "-mavx512f", "x"), ("AVX2", "-mfma", "-mavx512f"), ("DEFAULT", "-O3", "-mavx2")])
def test_the_instruction_set_is_torchs_and_is_named(monkeypatch, level, has, has_not):
    """A library that says `native` breaks where the cache is shared with an older machine."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: level)
    flags = _toolchain.host_flags()
    assert has in flags and has_not not in flags and "-march=native" not in flags
    # every level has a library of its own
    assert _extension.Plan.for_this_machine(with_cuda=False).cflags == flags


# --- how many compilers run at once


def test_jobs_follow_the_processors_and_the_memory(monkeypatch):
    monkeypatch.delenv("MAX_JOBS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    for gigabytes, jobs in ((0.5, 1), (3.1, 2), (1000, 16), (float("inf"), 16)):
        monkeypatch.setattr(_toolchain, "available_memory", lambda gigabytes=gigabytes: gigabytes * 2**30)
        assert _toolchain.max_jobs() == jobs
    monkeypatch.setenv("MAX_JOBS", "3")
    assert _toolchain.max_jobs() == 3
