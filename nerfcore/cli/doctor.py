"""`nerfcore doctor`"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Doctor:
    """Prints what nerfcore finds on this machine, and what each operation would run on. Compiles nothing."""

    def run(self) -> int:
        from nerfcore.cli.console import print_table

        print_table(diagnosis())
        return 0


def diagnosis() -> list[tuple[str, str]]:
    """Names and findings, one of each for every operation at the end."""
    import platform

    import torch

    from nerfcore import _extension
    from nerfcore.version import __version__

    facts = _extension.status()
    if facts["compiled"]:  # only now is nothing compiled by asking
        problem, cuda_problem = _extension.unavailable("cpu"), _extension.unavailable("cuda")
        facts = _extension.status()
        kernels = facts["library"]
    else:
        problem, cuda_problem = facts["problem"], facts["problem"] or facts["cuda_problem"]
        kernels = "not compiled yet: the first use does it, or `nerfcore build`"
    simd = facts["build"]["simd"] if "build" in facts else torch.backends.cpu.get_cpu_capability().lower()
    gpus = [
        f"{torch.cuda.get_device_name(i)} (sm_{major}{minor})"
        for i in range(torch.cuda.device_count()) for major, minor in [torch.cuda.get_device_capability(i)]
    ]
    return [
        ("nerfcore", __version__),
        ("python", f"{platform.python_version()} on {platform.system()}"),
        ("torch", f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}"),
        ("architecture", " · ".join([platform.machine(), *gpus])),
        ("SIMD level", simd),
        ("threads", f"{torch.get_num_threads()} to compute, {facts['jobs']} to compile"),
        ("compiler", str(facts.get("compiler", "none"))),
        ("cache", str(facts["cache"])),
        ("kernels", f"unusable: {problem}" if problem else str(kernels)),
        ("CUDA", f"unusable: {cuda_problem}" if cuda_problem else "usable"),
        *operations(problem is None, cuda_problem is None),
    ]


def operations(cpu: bool, cuda: bool) -> list[tuple[str, str]]:
    """Each operation and what it runs on. cpu, cuda: whether the kernels for such tensors are usable."""
    import torch

    from nerfcore import _extension

    rows = []
    for source in sorted((_extension.source_dir() / "kernels").glob("*.cpp")):
        runs_on = {"cpu": "C++ kernel" if cpu else "PyTorch reference"}
        if torch.cuda.is_available():
            runs_on["cuda"] = "CUDA kernel" if cuda and source.with_suffix(".cu").is_file() else "PyTorch reference"
        rows.append((source.stem, ", ".join(f"{device}: {what}" for device, what in runs_on.items())))
    return rows
