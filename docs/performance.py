"""Writes docs/performance.md from the committed results: ``python docs/performance.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "benchmarks"))


def main() -> None:
    from common import package_digest

    now = package_digest()
    parts = ["# Performance", "Written by `python docs/performance.py` from `benchmarks/results/*.json`; do not edit."]
    for name, table in (("cpu-scenes", scenes), ("cpu-step", step), ("cpu-ops", operations)):
        path = RESULTS / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text())
            machine = result["machine"]
            stale = "" if result.get("sources") == now else " **The sources have changed since (stale).**"
            where = f"{machine['cpu']}, {machine['threads']} threads, {machine['simd']}, load {machine['load']} at the start"
            parts += [
                *table(result["rows"]),
                f"{result['date']}, torch {result['torch']}, {where}, sources `{result['sources']}`.{stale}",
            ]
    (ROOT / "docs" / "performance.md").write_text("\n\n".join(parts) + "\n")


def scenes(rows: list[dict]) -> list[str]:
    lines = [
        "| scene | minutes | downscale | PSNR | SSIM | held-out views | steps | rays/s | samples/s | peak memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        lines.append(
            f"| {r['scene']} | {r['minutes']} | {r['downscale']} | {r['psnr']:.2f} dB | {r['ssim']:.4f} | {r['num_eval_images']} on "
            f"{r['background']} | {r['steps']} | {r['rays_per_second'] / 1e3:.1f} k | {r['samples_per_second'] / 1e6:.2f} M | "
            f"{r['peak_rss_bytes'] / 2**30:.1f} GiB |"
        )
    meshes = [
        f"Mesh of {r['scene']} at 256³: Chamfer distance {r['mesh']['chamfer_share']:.2%} of the box diagonal, "
        f"{r['mesh']['components']} components, {'' if r['mesh']['watertight'] else 'not '}watertight."
        for r in rows
        if "mesh" in r
    ]
    return ["## Whole runs on a CPU", "\n".join(lines), *meshes]


def step(rows: list[dict]) -> list[str]:
    lines = [
        "| size | kernels, samples/s | reference (eager), samples/s | ratio of medians |",
        "| --- | --- | --- | --- |",
    ]
    for r in rows:
        speed = r["samples_per_second"]
        kernel, reference = speed["kernel"], speed["reference"]
        lines.append(f"| {r['size']} | {kernel / 1e3:.0f} k | {reference / 1e3:.1f} k | {kernel / reference:.1f} |")
    return ["## The training step: kernels against the same model on the reference", "\n".join(lines)]


def operations(rows: list[dict]) -> list[str]:
    lines = [
        "| operation | size | kernel, ms | throughput | eager / kernel | torch.compile / kernel |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        compiled = "–" if r["compile_ratio"] is None else f"{r['compile_ratio']:.1f}"
        lines.append(
            f"| {r['row']} | {r['size']} | {r['ms']['kernel']['fastest']:.2f} | {r['throughput']:.3g} {r['unit']} | "
            f"{r['eager_ratio']:.1f} | {compiled} |"
        )
    return ["## Operations (fastest calls; medians are in the JSON)", "\n".join(lines)]


if __name__ == "__main__":
    main()
