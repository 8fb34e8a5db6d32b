"""Writes docs/performance.md from the committed results, and its plots where matplotlib is installed:
``python docs/performance.py``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "benchmarks"))
STALE = " (stale)"

# Where the time above the limit goes, by the name of a row of benchmarks/peers.py; measured on one thread.
GRID = "hash grid L16 F2 T2^19"
REMAINING = {
    f"{GRID} forward, 2^18 random points": "Where all points are one point, so that nothing waits for memory, it takes 72 % as long: addresses, weights and the writing of rows level by level, which the limit does not count.",
    f"{GRID} forward, 2^18 points on rays": "As for random points: addresses, weights and the writing of rows level by level.",
    f"{GRID} forward+backward, 2^18 random points": "With tables of 2^13 entries, which the caches hold, it takes 75 % as long: addresses, weights, and rows that are written and read level by level.",
    f"{GRID} forward+backward, 2^18 points on rays": "As for random points.",
    "compositing forward+backward, 2^16 rays": "1.9 ns a sample forward and 1.4 backward on one thread, where copying the bytes would take 1.7 for both: scans along the lanes, and the ends of rays that are 32 samples long, of which the last vector is half empty.",
    "MLP 32-64-64-16 forward+backward, 2^18 rows": "The backward pass reaches 45 % of the peak, the forward pass 60 %.",
    "march through 128^3 cells, 2^12 rays": "The bytes are few; the time goes into walking from cell to cell.",
    "occupancy update without the field, 128^3 cells": "",
    "marching cubes, 256^3": "A volume that no surface crosses takes 58 % as long; to see that all values are finite takes 13 %.",
}


def main(results: Path = RESULTS, folder: Path = ROOT / "docs") -> None:
    """Writes performance.md and its plots into the folder."""
    from common import training_digest

    now = training_digest()
    parts = [
        "# Performance",
        "Written by `python docs/performance.py` from `benchmarks/results/*.json`; do not edit. A row whose sources, "
        "or those of its benchmark, have changed since it was measured is marked as stale.",
    ]
    for name, table, by_row in (
        ("cpu-quality", quality, True), ("cpu-scenes", scenes, False), ("cpu-step", step, False),
        ("cpu-deterministic", deterministic, False), ("cpu-peers", peers, True), ("cpu-growth", growth, True),
        ("cpu-ops", operations, True), ("cpu-sfm", found_cameras, True), ("cpu-poses", wrong_poses, True),
        ("cpu-unbounded", without_an_end, True), ("cpu-depth", depth_maps, False), ("cpu-big-scene", big_scene, False),
    ):
        path = results / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            machine = result["machine"]
            stale = "" if by_row or result.get("sources") == now else " **The sources have changed since (stale).**"
            where = f"{machine['cpu']}, {machine['threads']} threads, {machine['simd']}, load {machine['load']} at the start"
            parts += [
                *table(result, folder),
                f"{result['date']}, torch {result['torch']}, {where}, sources `{result['sources']}`.{stale}",
            ]
    gpus = sorted(path for path in results.glob("*.json") if not path.name.startswith("cpu-"))
    for path in gpus:
        parts += gpu(json.loads(path.read_text(encoding="utf-8")))
    if not gpus:
        parts += ["## On a GPU", "Nothing has been measured yet: `benchmarks/gpu_check.sh` does it on a machine that has one."]
    (folder / "performance.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def scenes(result: dict, folder: Path) -> list[str]:
    rows = result["rows"]
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


def quality(result: dict, folder: Path) -> list[str]:
    from quality import MARKS, row_digest

    digests = {mark.row: row_digest(mark) for mark in MARKS}
    lines = [
        "| scene, seconds | target | mean | worst | runs | busy s | wall s | steps | samples/s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        busy, wall, steps, rate = (mean(x[k] for x in r["runs"]) for k in ("busy", "wall", "steps", "samples_per_second"))
        verdict = {True: ", **met**", False: ", **missed**", None: ""}[r["met"]]
        target = "–" if r["target"] is None else f"{r['target']:g} dB{verdict}"
        lines.append(
            f"| {r['row']}{_stale(r, digests.get(r['row']))} | {target} | {r['psnr']:.2f} dB | {r['worst']:.2f} dB | "
            f"{len(r['runs'])} | {busy:.1f} | {wall:.1f} | {steps:.0f} | {rate / 1e6:.2f} M |"
        )
    said = (
        "PSNR over the held-out views, mean over the seeds. Every mark is a run of its own; loading photographs and "
        "setting up occupancy count, importing, compiling and the evaluation do not. fox: 270 x 480 pixels, chair: "
        "400 x 400 on white, builtin: 200 x 200, fern: 504 x 378."
    )
    return ["## Time to quality", said, "\n".join(lines), *pictures(result["rows"], digests)]


def pictures(rows: list[dict], digests: dict[str, str]) -> list[str]:
    from quality import PICTURES

    rows = [r for r in rows if all("pictures" in run for run in r["runs"])]
    if not rows:
        return []
    lines = ["| model | pixels | target | busy s | wall s | pictures a second, busy |", "| --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        for side, target in PICTURES.items():
            busy, wall = (mean(run["pictures"][str(side)][k] for run in r["runs"]) for k in ("busy", "wall"))
            verdict = "met" if busy <= target else "missed"
            lines.append(
                f"| {r['row']}{_stale(r, digests.get(r['row']))} | {side} x {side} | {target:.3f} s, **{verdict}** | {busy:.3f} | "
                f"{wall:.3f} | {1 / busy:.1f} |"
            )
    said = "Pictures of the built-in scene, rendered as those that were scored: medians over its views, means over the seeds."
    return ["### Pictures", said, "\n".join(lines)]


def deterministic(result: dict, folder: Path) -> list[str]:
    (r,) = result["rows"]
    bits = "the same bits" if r["equal"] else "DIFFERENT bits"
    said = (
        f"Over {r['runs']} runs and over {' and '.join(map(str, r['threads']))} threads, `deterministic=True` gives {bits} "
        f"({r['row']}), at {r['price']:.2f} times the time without it (target ≤ {r['target']:g}). On a CPU the kernels have no "
        "faster, less orderly way, so it is always on there."
    )
    return ["## Repeatable bits", said]


def step(result: dict, folder: Path) -> list[str]:
    lines = [
        "| size | fused kernels | modular kernels | reference (eager) | fused / modular | fused / reference | reference / tuned PyTorch "
        "| floor | time / floor |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        rates = (f"{r['samples_per_second'][arm] / 1e3:.0f} k" for arm in ("kernel", "modular", "reference"))
        tuned = "–" if r["reference_over_peer"] is None else f"{r['reference_over_peer']:.2f} (target ≥ 0.9)"
        parts = ", ".join(f"{name} {seconds / r['samples'] * 1e9:.0f}" for name, seconds in r["floor"].items())
        lines.append(
            f"| {r['size']}: {r['samples']} samples | {' | '.join(rates)} | {r['kernel_over_modular']:.2f} (target ≥ 1.4) | "
            f"{r['kernel_over_reference']:.1f} (target ≥ 14) | {tuned} | {sum(r['floor'].values()) / r['samples'] * 1e9:.0f} ns: "
            f"{parts} | {r['kernel_over_floor']:.2f} (target ≤ 1.5) |"
        )
    said = (
        "Samples a second, medians. The floor is what no implementation can avoid at this machine's limits, in ns a sample; "
        "the time over it is busy time."
    )
    return ["## The training step", said, "\n".join(lines)]


def peers(result: dict, folder: Path) -> list[str]:
    from peers import OURS
    from peers import rows as now

    digests = {row.name: row.digest() for row in now()}
    rows = result["rows"]
    lines = [
        "| work | threads | ours | strongest peer | times | limit | over limit | target | where the rest of the time goes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        peer, verdict = r["strongest"], {True: ", **met**", False: ", **missed**", None: ""}[r["met"]]
        theirs = f"{peer} {_busy_and_wall(r, peer)}" if peer else "–"
        ratio = f"{r['ratio']:.2f}" if peer else "–"
        target = f"{r['target']}{verdict}" if r["target"] else "–"
        lines.append(
            f"| {r['row']}{_stale(r, digests.get(r['row']))} | {r['threads']} | {_busy_and_wall(r, OURS)} | {theirs} | "
            f"{ratio} | {r['limit_ms']:.3g} | {r['over_limit']:.2f} | {target} | {REMAINING.get(r['row'], '–')} |"
        )
    libraries = list(dict.fromkeys(name for r in rows for name in r["ms"]))
    versions = {name: version for r in rows for name, version in r["libraries"].items()}
    every = [
        "| work | " + " | ".join(f"{name} {versions.get(name, '')}".strip() for name in libraries) + " |",
        "| --- |" + " --- |" * len(libraries),
    ]
    for r in rows:
        cells = (f"{r['ms'][name]['busy']:.3g}" if name in r["ms"] else "–" for name in libraries)
        every.append(f"| {r['row']} | {' | '.join(cells)} |")
    counted = [
        "| work | the limit counts | copy bandwidth | sgemm | random reads |", "| --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        shares = (f"{share:.0%}" if share else "–" for share in r["share_of"].values())
        counted.append(f"| {r['row']} | {r['limit_counted']} | {' | '.join(shares)} |")
    return [
        "## Beside other libraries, and beside the machine's limits",
        "Milliseconds of busy time, with the median of wall time in parentheses. Busy time is the CPU time of the busiest thread, or all "
        "CPU time divided by the threads, whichever is larger: about the wall time on idle cores. All arms of a row take turns in one "
        "run, each library in a process of its own, after it has computed the right result on less data. Every process keeps the memory "
        "that it has freed, as peers keep the arrays that they write into.",
        "\n".join(lines),
        "Every library, ms busy:",
        "\n".join(every),
        *(f"Left out: {sentence}." for sentence in sorted({s for r in rows for s in r["absent"].values()})),
        "What the limits count, and the share of the machine's rates that bytes, flops and random accesses come to (more than 100 % "
        "where caches serve them):",
        "\n".join(counted),
        *_limits(result["limits"]),
    ]


def _limits(limits: list[dict]) -> list[str]:
    from limits import RANDOM_ACCESSES

    if not limits:
        return []
    limits = sorted(limits, key=lambda x: x["threads"])
    lines = [
        "| rate of all threads together | " + " | ".join(f"{x['threads']} threads" for x in limits) + " |",
        "| --- |" + " --- |" * len(limits),
    ]

    def line(what: str, rate: Callable[[dict], float], scale: float) -> None:
        lines.append(f"| {what} | {' | '.join(f'{rate(x) * scale:.3g}' for x in limits)} |")

    line("copy, GB/s", lambda x: x["copy_bytes"], 1e-9)
    line("fp32 multiply-add in registers, GFLOP/s", lambda x: x["multiply_add_flops"], 1e-9)
    for shape in limits[0]["sgemm_flops"]:
        line(f"torch.mm {shape}, GFLOP/s", lambda x, shape=shape: x["sgemm_flops"][shape], 1e-9)
    for name, what in RANDOM_ACCESSES.items():
        for size in limits[0][name]:
            line(f"random {what} in {int(size) // 1024} KiB, M/s", lambda x, name=name, size=size: x[name][size], 1e-6)
    return ["The machine's limits, by `benchmarks/limits.cpp` and torch, in the same run:", "\n".join(lines)]


def growth(result: dict, folder: Path) -> list[str]:
    from growth import curves as now

    rows = result["rows"]
    digests = {curve.name: curve.digest() for curve in now(result["machine"]["threads"], quick=False)}
    lines = ["| ns busy for each sample (or ray) of | at | ns | growth, target |", "| --- | --- | --- | --- |"]
    for r in rows:
        verdict = f"{r['growth']:.2f}, {r['target']}, **{'met' if r['met'] else 'missed'}**" if r["growth"] else "–"
        prices = ", ".join(f"{price:.3g}" for price in r["ns"])
        lines.append(
            f"| {r['curve']}{_stale(r, digests.get(r['curve']))} | {', '.join(map(str, r['x']))} | {prices} | {verdict} |"
        )
    plot = folder / "growth.svg"
    draw_growth(rows, plot)
    picture = ["![How cost grows](growth.svg)"] if plot.is_file() else []
    return ["## How cost grows", *picture, "\n".join(lines)]


def draw_growth(rows: list[dict], path: Path) -> None:
    """A panel for each thing that grows; without matplotlib the file stays as it is."""
    try:
        import matplotlib
    except ImportError:
        print(f"{path.name} is not drawn: matplotlib is not installed (pip install matplotlib)", file=sys.stderr)
        return
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "nerfcore", "font.size": 8}
    from matplotlib import pyplot

    grown = list(dict.fromkeys(r["against"] for r in rows))
    works = list(dict.fromkeys(r["curve"].split(" against")[0] for r in rows))
    figure, panels = pyplot.subplots(2, -(-len(grown) // 2), figsize=(9, 5.5), layout="constrained", squeeze=False)
    for panel, against in zip(panels.flat, grown, strict=False):
        for r in (r for r in rows if r["against"] == against):
            work = r["curve"].split(" against")[0]
            panel.plot(r["x"], r["ns"], marker="o", markersize=3, label=work, color=f"C{works.index(work)}")
        panel.set(xlabel=against, ylabel="ns a ray" if "pixels" in against else "ns a sample", yscale="log")
        low, high = (math.log10(end) for end in panel.get_ylim())
        panel.set_ylim(10 ** math.floor(low), 10 ** math.ceil(high))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")
        if against in ("samples", "pixels on a side"):
            panel.set_xscale("log", base=2)
        else:
            panel.set_xticks(rows[[r["against"] for r in rows].index(against)]["x"])
        panel.grid(alpha=0.3)
    for panel in panels.flat[len(grown) :]:
        panel.remove()
    lines = {line.get_label(): line for panel in panels.flat for line in panel.get_lines()}
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=3)
    figure.savefig(path, metadata={"Date": None})


def operations(result: dict, folder: Path) -> list[str]:
    from common import op_digest

    lines = [
        "| operation | size | kernel, ms | throughput | eager / kernel | torch.compile / kernel |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        compiled = "–" if r["compile_ratio"] is None else f"{r['compile_ratio']:.1f}"
        stale = _stale(r, op_digest(r["op"], ROOT / "benchmarks" / "ops.py"))
        lines.append(
            f"| {r['row']}{stale} | {r['size']} | {r['ms']['kernel']['fastest']:.2f} | {r['throughput']:.3g} {r['unit']} | "
            f"{r['eager_ratio']:.1f} | {compiled} |"
        )
    return ["## Operations (fastest calls; medians are in the JSON)", "\n".join(lines)]


def found_cameras(result: dict, folder: Path) -> list[str]:
    from sfm import MOST_CENTRE_SHARE, MOST_LOST_DB, MOST_SECONDS, row_digest

    lines = ["| work | asked | found |", "| --- | --- | --- |"]
    for r in result["rows"]:
        verdict, stale = "met" if r["met"] else "missed", _stale(r, row_digest())
        if "psnr" in r:
            psnr = " and ".join(f"{mean(values):.2f} dB on {name} ones" for name, values in r["psnr"].items())
            asked, found = f"≤ {MOST_LOST_DB:g} dB lost", f"{r['lost_db']:.2f} dB lost, **{verdict}**: {psnr}, means of {len(r['seeds'])}"
        else:
            asked = f"all photographs, centres within {MOST_CENTRE_SHARE:.0%} of the extent, ≤ {MOST_SECONDS:g} s"
            found = (
                f"{r['registered']} of {r['photographs']}, {r['centre_share']:.3%} (worst {r['worst_centre_share']:.3%}), "
                f"{r['seconds']:.0f} s ({r['cpu_seconds']:.0f} s of CPU, {r['threads']} threads), **{verdict}**; turned by {r['degrees']:.2f}°"
            )
        lines.append(f"| {r['row']}{stale} | {asked} | {found} |")
    return ["## Cameras found in photographs", "`nerfcore process` beside the poses that the scene came with.", "\n".join(lines)]


def wrong_poses(result: dict, folder: Path) -> list[str]:
    from poses import row_digest, verdicts

    lines = ["| arm | seeds | held-out PSNR | rotations off by | steps |", "| --- | --- | --- | --- | --- |"]
    for r in result["rows"]:
        steps = mean(x["steps"] for x in r["runs"])
        lines.append(f"| {r['row']}{_stale(r, row_digest(r['row']))} | {len(r['seeds'])} | {r['psnr']:.2f} dB | {r['rotation']:.3f}° | {steps:.0f} |")
    scenes = dict.fromkeys(r["scene"] for r in result["rows"])
    said = [line for scene in scenes for line in verdicts({r["arm"]: r for r in result["rows"] if r["scene"] == scene})]
    return [
        "## Wrong poses, and their refinement",
        "Disturbed: every camera turned by 2° and moved by 2 % of its distance, in random directions; given: as the scene has them.",
        "\n".join(lines), *said,
    ]


def without_an_end(result: dict, folder: Path) -> list[str]:
    from unbounded import row_digest

    lines = ["| arm | steps | PSNR | worst | contracted gains | asked |", "| --- | --- | --- | --- | --- | --- |"]
    for r in result["rows"]:
        gain = f"{r['contracted_gains']:+.2f} dB" if "contracted_gains" in r else "–"
        asked = f"{r['target']:g} dB, **{'met' if r['met'] else 'missed'}**" if "target" in r else "–"
        stale = _stale(r, row_digest(r["row"]))
        lines.append(f"| {r['row']}{stale} | {r['steps']} | {r['psnr']:.2f} dB | {r['worst']:.2f} dB | {gain} | {asked} |")
    said = (
        "Our synthetic scene whose objects lie out to 100 times the ring of cameras: contracted, in the box that holds the ring, "
        "and in boxes so many times as large. Held-out views, means over the seeds."
    )
    return ["## A scene without an end", said, "\n".join(lines)]


def depth_maps(result: dict, folder: Path) -> list[str]:
    lines = ["| weight | views | steps | PSNR | SSIM | distance off by | CPU s |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for r in result["rows"]:
        lines.append(
            f"| {r['weight']:g} | {r['views']} | {r['steps']} | {r['psnr']:.2f} dB | {r['ssim']:.4f} | {r['distance_error']:.4f} | "
            f"{r['cpu_seconds']:.1f} |"
        )
    return ["## Depth maps where photographs are few", "On the built-in scene, held-out views.", "\n".join(lines)]


def big_scene(result: dict, folder: Path) -> list[str]:
    lines = [
        "| photographs | bytes of their pixels | most memory | stated before | pool on disk | steps | training s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in result["rows"]:
        sizes = (r[name] / 2**30 for name in ("bytes_of_pixels", "peak_bytes", "memory_limit_bytes", "pool_bytes"))
        cells = " | ".join(f"{size:.2f} GiB" for size in sizes)
        lines.append(f"| {r['photos']} of {r['width']} x {r['height']} | {cells} | {r['steps']} | {r['train_seconds']:.0f} |")
    return ["## More photographs than memory holds", "\n".join(lines)]


def gpu(result: dict) -> list[str]:
    """What benchmarks/gpu_check.sh found, part by part."""
    from gpu import TARGETS, part_digest, summary
    from gpu_rows import op_rows, peer_rows

    digests = {row.name: row.digest() for row in (*op_rows(), *peer_rows())}
    tables = {"ops": _gpu_operations, "peers": _gpu_peers}
    targets = ["| work | target | found |", "| --- | --- | --- |"]
    for v in (target.verdict(result["parts"]) for target in TARGETS):
        found = v["why"] if v["met"] is None else f"{v['found']:.3g}, **{'met' if v['met'] else 'missed'}**"
        targets.append(f"| {v['work']} | {v['asks']} | {found} |")
    said = "By `benchmarks/gpu_check.sh`; the targets are for an H200. Times are medians of device-event times."
    parts = [f"## On a GPU: {result['gpu']}", said, "\n".join(targets)]
    for part, found in result["parts"].items():
        rows = [r | {"row": r["row"] + _stale(r, digests.get(r["row"]) or part_digest(part))} for r in found["rows"]]
        measured = tables[part](found, [r for r in rows if "failed" not in r]) if part in tables else []
        others = [r for r in rows if part not in tables or "failed" in r]
        lines = [f"- {r['row']}: {'failed: ' + r['failed'] if 'failed' in r else summary(r)}" for r in others]
        machine = found["machine"]
        parts += [f"### {part}", *measured, *(["\n".join(lines)] if lines else []), (
            f"{found['date']}, torch {found['torch']}, CUDA {machine['cuda']}, nvcc {machine['nvcc']}, driver {machine['driver']}, "
            f"{found['seconds']:.0f} s, sources `{found['sources']}`."
        )]
    return parts


def _gpu_operations(part: dict, rows: list[dict]) -> list[str]:
    rates = part["ceilings"]
    said = (
        f"Ceilings of the same run: a plain device copy, {rates['copy_bytes'] * 1e-12:.2f} TB/s, and a bf16 matrix product, "
        f"{rates['product_flops'] * 1e-12:.0f} TFLOP/s. Shares are of the bytes and flops that the work needs at least; what memory had no "
        f"time for, at that rate of copying, came from caches. Caches: {part['caches']}."
    )
    lines = [
        "| operation | ms | cold | host, ms | share of the copy | of the product | from caches, at least |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        shares = r["share_of"]["copy"], r["share_of"]["product"], r["cached_share"]
        cells = f"{r['ms']:.3g}", f"{r['cold_ms']:.3g}", f"{r['host_ms']:.3g}", *(f"{share:.0%}" for share in shares)
        lines.append(f"| {r['row']} | {' | '.join(cells)} |")
    return [said, "\n".join(lines)]


def _gpu_peers(part: dict, rows: list[dict]) -> list[str]:
    from gpu import differing

    libraries = list(dict.fromkeys(name for r in rows for name in r["peers_ms"]))
    lines = [
        "| work | ours, ms | " + " | ".join(f"{name}, ms | times" for name in libraries) + " |",
        "| --- | --- |" + " --- | --- |" * len(libraries),
    ]
    for r in rows:
        cells = (
            f"{r['peers_ms'][name]:.3g} | {r['figures'][f'x {name}']:.2f}" if name in r["peers_ms"] else "– | –" for name in libraries
        )
        lines.append(f"| {r['row']} | {' | '.join([format(r['ms'], '.3g'), *cells])} |")
    said = sorted({sentence for r in rows for sentence in (*r["absent"].values(), *(f"{r['row']}: {d}" for d in differing(r)))})
    return ["\n".join(lines), *(f"{sentence}." for sentence in said)]


def _busy_and_wall(row: dict, library: str) -> str:
    return f"{row['ms'][library]['busy']:.3g} ({row['ms'][library]['median']:.3g})"


def _stale(row: dict, digest: str | None) -> str:
    """The mark of a row that was measured with other sources than now, or that is measured no more."""
    return "" if row["digest"] == digest else STALE


if __name__ == "__main__":
    main()
