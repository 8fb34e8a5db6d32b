"""The benchmarks run and write what they say; how fast anything is, is not tested."""

from __future__ import annotations

import json
import math
import os
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import nerfcore
from nerfcore.cameras import rotation_angle

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
HEADER = {"schema", "date", "machine", "torch", "sources", "rows"}


@pytest.fixture
def bench_ops(kernels):
    return runpy.run_path(str(BENCHMARKS / "ops.py"))["main"]


def test_ops_table_and_json(bench_ops, tmp_path, capsys):
    out = tmp_path / "new" / "ops.json"
    bench_ops(["--quick", "--ops", "intersect", "mlp", "--json", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert set(result) == HEADER
    assert set(result["machine"]) == {"cpu", "threads", "simd", "load"}
    assert [row["row"] for row in result["rows"]] == ["intersect", "mlp forward", "mlp forward+backward"]
    for row in result["rows"]:
        assert set(row["ms"]) == {"kernel", "eager"} and row["no_compile"].startswith("n/a")
        assert all(0 < t["fastest"] <= t["median"] for t in row["ms"].values())
        assert row["unit"] in ("GB/s", "Gsamples/s") and row["throughput"] > 0 and row["eager_ratio"] > 0
    printed = capsys.readouterr().out
    assert "mlp forward+backward" in printed and "eager/kernel" in printed


def test_resume_keeps_rows_of_unchanged_sources(bench_ops, tmp_path, capsys):
    out = tmp_path / "ops.json"
    words = ["--quick", "--resume", "--json", str(out), "--ops"]
    bench_ops([*words, "intersect"])
    first = json.loads(out.read_text(encoding="utf-8"))["rows"]
    bench_ops([*words, "intersect", "spherical_harmonics"])
    second = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert second[:1] == first and second[1]["op"] == "spherical_harmonics"
    out.write_text(out.read_text(encoding="utf-8").replace(first[0]["digest"], "of older sources"), encoding="utf-8")
    bench_ops([*words, "intersect"])
    assert json.loads(out.read_text(encoding="utf-8"))["rows"][0]["digest"] == first[0]["digest"]


def test_training_depends_on_what_it_imports_and_on_the_kernels_of_its_operations():
    import common

    code = (
        "import sys, nerfcore.training.run\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'nerfcore'), sep='\\n')"
    )
    loaded = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {path.resolve() for path in common.imported("nerfcore.training.run")}
    assert found >= {Path(line).resolve() for line in loaded.splitlines()}
    assert not {"cli", "sfm", "viewer", "checkup", "mesh"} & {path.parent.name for path in found}
    kernels = {path.name for path in common.kernel_sources("march")}
    assert {"march.cpp", "march.h", "march_lanes.h", "platform.h"} <= kernels and "hash_grid.cpp" not in kernels
    assert common.training_digest() != common.training_digest("nerfcore.sfm.process")


def test_found_cameras_are_compared_after_a_similarity():
    import sfm

    from nerfcore.cameras.alignment import Similarity
    from nerfcore.cameras.poses import rotation_exp

    random = torch.Generator().manual_seed(0)
    numbers = torch.randn(8, 6, generator=random, dtype=torch.float64)
    given = torch.cat([rotation_exp(numbers[:, :3]), numbers[:, 3:, None]], dim=-1)
    moved = Similarity(3.0, rotation_exp(numbers[0, :3]), numbers[0, 3:]).poses(given)
    turned = moved.clone()
    turned[2, :, :3] = moved[2, :, :3] @ rotation_exp(torch.tensor([0.0, math.radians(2.0), 0.0], dtype=torch.float64))
    found = sfm.differences(dict(zip("abcdefgh", turned, strict=True)), dict(zip("abcdefgh", given, strict=True)))
    assert found["worst_centre_share"] < 1e-12 and found["degrees"] == pytest.approx(0.25) and found["worst_degrees"] == pytest.approx(2)


def test_unknown_operation_is_refused(bench_ops, capsys):
    with pytest.raises(SystemExit):
        bench_ops(["--ops", "no_such_operation"])
    assert "no_such_operation" in capsys.readouterr().err


def test_training_step(kernels, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("NERFCORE_PEERS", raising=False)
    out = tmp_path / "step.json"
    runpy.run_path(str(BENCHMARKS / "step.py"))["main"](["--quick", "--json", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert set(result) == HEADER | {"quick"}
    assert [row["size"] for row in result["rows"]] == ["default", "paper"]
    for row in result["rows"]:
        assert set(row["samples_per_second"]) == {"kernel", "modular", "reference"} and row["kernel_over_reference"] > 0
        assert set(row["floor"]) == {"networks", "reads", "additions", "Adam"} and min(row["floor"].values()) > 0
        assert row["kernel_over_floor"] > 0 and 0 < row["touched"]
        assert row["no_peer"] and row["reference_over_peer"] is None
    assert "NERFCORE_PEERS is not set" in capsys.readouterr().out


def test_peers_table_and_json(kernels, tmp_path, monkeypatch, capsys):
    import peers
    import worker

    real = worker.importlib.util.find_spec
    monkeypatch.setattr(worker.importlib.util, "find_spec", lambda name: real(name) if name != "numba" else None)
    out = tmp_path / "peers.json"
    words = ["--quick", "--json", str(out), "--rows", "compositing forward+backward, 2^7"]
    peers.main(words)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert set(result) == HEADER | {"limits"} and len(result["limits"]) == 1
    (row,) = result["rows"]
    assert {"nerfcore", "torch"} <= set(row["ms"]) and "numba" not in row["ms"]
    assert row["absent"]["numba"] == "numba is not installed (pip install numba)"
    for timing in row["ms"].values():
        assert 0 < timing["fastest"] <= timing["median"] and timing["busy"] > 0 and timing["error"] < 1e-3
    assert row["ratio"] > 0 and row["limit_ms"] > 0 and row["over_limit"] > 0 and row["bytes"] > 0
    assert "Left out: numba is not installed" in capsys.readouterr().out
    peers.main([*words, "--resume"])
    assert json.loads(out.read_text(encoding="utf-8"))["rows"] == [row]


def test_peers_refuse_words_that_no_row_holds(kernels):
    import peers

    from nerfcore.errors import NerfcoreError

    with pytest.raises(NerfcoreError, match="no row holds nothing like it; there are: hash grid"):
        peers.main(["--rows", "nothing like it"])


@pytest.mark.parametrize(
    "target, times, over_limit, met",
    [
        (dict(times=2, over_limit=1.5), 2.0, 1.5, True),
        (dict(times=2, over_limit=1.5), 3.0, 1.6, False),
        (dict(times=2, over_limit=1.5), None, 1.6, False),
        (dict(times=2, over_limit=1.5), None, 1.4, None),
        (dict(times=2, over_limit=1.5, either=True), 1.9, 1.4, True),
        (dict(times=2, over_limit=1.5, either=True), None, 1.4, True),
        (dict(times=2, over_limit=1.5, either=True), None, 1.6, None),
        (dict(times=2, over_limit=1.5, either=True), 1.9, 1.6, False),
    ],
)
def test_a_target_is_met(target, times, over_limit, met):
    import peers

    assert peers.Target(**target).met(times, over_limit) is met


def test_a_peer_that_computes_something_else_is_left_out(kernels):
    import peers
    from arms import eager

    row = peers.Row("sh", "spherical_harmonics", eager, eager.Work("spherical_harmonics", 64))
    truth = eager.truth(row.work.small())
    crew = peers.Crew(1)
    try:
        _, error = crew.prepared("torch", row, row.work, truth)
        assert error < 1e-6
        with pytest.raises(peers.PeerError, match="torch computes something else: largest relative error"):
            crew.prepared("torch", row, row.work, {"code": 0 * truth["code"] + 1e-30})
    finally:
        crew.close()


def test_busy_is_the_busiest_thread_or_the_share_of_all():
    from timing import busy_seconds

    assert busy_seconds({"1": 1.0, "2": 5.0, "all": 6.0}, {"1": 4.0, "2": 6.0, "all": 10.0}, 2) == 3.0  # thread 1
    assert busy_seconds({"1": 0.0, "all": 0.0}, {"1": 1.0, "2": 1.5, "all": 6.0}, 2) == 3.0  # threads that have ended
    assert busy_seconds({"1": 0.0, "all": 0.0}, {"1": 2.0, "2": 2.0, "all": 4.0}, 1) == 4.0  # more threads than allowed


def test_waiting_is_not_busy():
    from timing import TASKS, one_turn

    turn = one_turn(partial(time.sleep, 0.05), 1, calls=2)
    assert turn.wall >= 0.05 and (turn.busy < turn.wall or not TASKS.is_dir())


def test_limits_rate_between_measured_sizes():
    from limits import rate_at

    curve = {1024: 4.0, 4096: 2.0}
    assert rate_at(curve, 100) == 4.0 and rate_at(curve, 1e9) == 2.0 and rate_at(curve, 4096) == 2.0
    assert rate_at(curve, 2048) == pytest.approx(1 / (0.5 / 4 + 0.5 / 2))


def test_limits_are_measured(kernels, tmp_path, capsys):
    import limits

    out = tmp_path / "limits.json"
    limits.main(["--quick", "--threads", "1", "--json", str(out)])
    (measured,) = json.loads(out.read_text(encoding="utf-8"))["limits"]
    assert measured["threads"] == 1 and measured["copy_bytes"] > 0 and measured["multiply_add_flops"] > 0
    for name in ("gather_8", "gather_16", "scatter_8", "scatter_16", "sgemm_flops"):
        assert measured[name] and all(rate > 0 for rate in measured[name].values())
    assert "copy, GB/s" in capsys.readouterr().out


def test_growth_curves(kernels, tmp_path, capsys):
    import growth

    out = tmp_path / "growth.json"
    growth.main(["--quick", "--curves", "MLP", "fused", "picture", "--json", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert set(result) == HEADER
    for curve in result["rows"]:
        assert len(curve["x"]) == len(curve["ns"]) == len(curve["ms"]["busy"]) and min(curve["ns"]) > 0
        assert curve["growth"] is None and curve["target"] is None  # the sizes of the target are not among the small ones
    assert "fused training step against levels" in capsys.readouterr().out


def test_repeatable_bits(kernels, tmp_path, capsys):
    out = tmp_path / "deterministic.json"
    runpy.run_path(str(BENCHMARKS / "deterministic.py"))["main"](["--steps", "3", "--json", str(out)])
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert row["equal"] and row["price"] > 0 and "equal to the bit" in capsys.readouterr().out


def test_time_to_quality(kernels, tmp_path, monkeypatch, capsys):
    """A few seconds instead of fifteen; a scene that is not there is skipped with a sentence."""
    import quality

    monkeypatch.setattr(quality, "PICTURES", {8: 1.0})
    assert {mark.scene for mark in quality.MARKS} == {"builtin", "fox", "chair", "fern"}
    row = quality.train_once(quality.Mark("builtin", 5, None), None, 0)
    assert row["psnr"] > 10 and row["steps"] > 0 and 0 < row["busy"] and row["wall"] >= 5
    assert 0 < row["pictures"][8]["busy"] < 1 and row["pictures"][8]["wall"] > 0
    quality.main(["--rows", "fox@15", "--json", str(tmp_path / "quality.json")])
    assert "fox@15: skipped, because FOLDER has no fox" in capsys.readouterr().out


def test_scene_without_an_end(kernels, tmp_path, monkeypatch, capsys):
    """Few, small views and steps, and the second time nothing is measured again."""
    monkeypatch.setattr("nerfcore.synthetic.unbounded.VIEWS", 9)
    monkeypatch.setattr("nerfcore.synthetic.unbounded.SIZE", 16)
    names, out = runpy.run_path(str(BENCHMARKS / "unbounded.py")), tmp_path / "unbounded.json"
    words = ["--arms", "contracted", "box", "box x16", "--steps", "2", "--seeds", "0", "--json", str(out), "--resume"]
    names["main"](words)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert set(result) == HEADER and [row["row"] for row in result["rows"]] == ["contracted", "box", "box x16"]
    contracted, box, large = result["rows"]
    assert box["contracted_gains"] == contracted["psnr"] - box["psnr"] and "contracted_gains" in large
    assert (contracted["target"], box["target"], "target" in large) == (27.0, 3.0, False)
    assert "held-out views after 2 steps" in capsys.readouterr().out
    monkeypatch.setattr("nerfcore.train", None)
    names["main"](words)
    assert json.loads(out.read_text(encoding="utf-8"))["rows"] == result["rows"]


def test_more_photographs_than_memory_holds(kernels, tmp_path):
    out, names = tmp_path / "big.json", runpy.run_path(str(BENCHMARKS / "big_scene.py"))
    small = ["--quick", "--photos", "12", "--pool", "0.001", "--folder", str(tmp_path)]
    names["main"]([*small, "--json", str(out)])
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert row["met"] and row["steps"] == 3 and 0 < row["pool_bytes"] <= 0.001 * 2**30
    assert row["peak_bytes"] >= row["stages"]["ready"]["peak_bytes"] > 2**26
    assert min(row["peak_private_bytes"], row["peak_mapped_bytes"]) > 0 and [p.name for p in tmp_path.iterdir()] == [out.name]


def test_depth_maps_with_few_photographs(kernels, tmp_path, capsys):
    out, names = tmp_path / "depth.json", runpy.run_path(str(BENCHMARKS / "depth.py"))
    small = ["--views", "2", "--steps", "2", "--downscale", "8", "--seeds", "3", "--weights", "0.1"]
    names["main"]([*small, "--json", str(out)])
    (row,) = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert row["weight"] == 0.1 and row["distance_error"] > 0 and row["psnr"] > 0
    assert "weight 0.1, seed 3: psnr" in capsys.readouterr().out


def test_performance_page(kernels, tmp_path, capsys):
    import growth
    import peers

    peers.main(["--quick", "--rows", "MLP 32-64-64-16 forward+backward, 2^12", "--json", str(tmp_path / "cpu-peers.json")])
    growth.main(["--quick", "--curves", "MLP", "--json", str(tmp_path / "cpu-growth.json")])
    write_page = runpy.run_path(str(BENCHMARKS.parent / "docs" / "performance.py"))["main"]
    write_page(tmp_path, tmp_path)
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "| MLP 32-64-64-16 forward+backward, 2^12 rows |" in page and "| MLP forward+backward against samples |" in page
    assert "(growth.svg)" in page or "growth.svg is not drawn" in capsys.readouterr().err
    for name in ("cpu-peers", "cpu-growth"):
        path = tmp_path / f"{name}.json"
        result = json.loads(path.read_text(encoding="utf-8"))
        result["rows"][0]["digest"] = "of older sources"
        path.write_text(json.dumps(result), encoding="utf-8")
    write_page(tmp_path, tmp_path)
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "2^12 rows (stale) |" in page and "against samples (stale) |" in page and "against threads |" in page


def test_performance_page_of_custom_scenes(kernels, tmp_path):
    """The tables of benchmarks that take minutes, of rows as they write them."""
    import poses
    import sfm
    import unbounded
    from common import header, write_json

    arms = dict(given=35.0, disturbed=25.0, recovered=34.5)
    rows = [
        dict(row=f"chair {arm}, 5 min", digest=poses.row_digest(f"chair {arm}, 5 min"), scene="chair", arm=arm, seeds=[0],
             psnr=psnr, rotation=0.2, runs=[dict(steps=7)])
        for arm, psnr in arms.items()
    ]
    write_json(tmp_path / "cpu-poses.json", header() | {"rows": rows})
    endless = [dict(row=arm, digest=unbounded.row_digest(arm), steps=9, psnr=psnr, worst=psnr, runs=[]) for arm, psnr in (("contracted", 32.0), ("box", 28.0))]
    unbounded.judge(endless)
    write_json(tmp_path / "cpu-unbounded.json", header() | {"rows": endless})
    cameras = dict(
        row="fox cameras", digest="of older sources", threads=2, photographs=50, registered=50, seconds=300.0, cpu_seconds=200.0,
        centre_share=0.0003, worst_centre_share=0.001, degrees=0.12, met=True,
    )
    on_found = dict(row="fox@60 on found cameras", digest=sfm.row_digest(), seeds=[0], psnr=dict(given=[30.0], found=[29.0]), lost_db=1.0, met=False)
    write_json(tmp_path / "cpu-sfm.json", header() | {"rows": [cameras, on_found]})
    runpy.run_path(str(BENCHMARKS.parent / "docs" / "performance.py"))["main"](tmp_path, tmp_path)
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "| chair disturbed, 5 min | 1 | 25.00 dB | 0.200° | 7 |" in page and "chair: 95.0 % of 10.00 dB recovered" in page
    assert "| box | 9 | 28.00 dB | 28.00 dB | +4.00 dB | 3 dB, **met** |" in page
    assert "| fox cameras (stale) |" in page and "50 of 50, 0.030% (worst 0.100%)" in page and "1.00 dB lost, **missed**" in page


# benchmarks/gpu_check.sh: all of it that needs no GPU


@pytest.fixture
def gpu(kernels, monkeypatch):
    """gpu.py, whose rows are timed on the CPU, as shortly as can be."""
    import gpu
    import gpu_rows

    monkeypatch.setattr(gpu_rows, "SECONDS", 0.0)
    monkeypatch.setattr(gpu_rows, "TURN", 0.0)
    return gpu


def on_the_cpu(arm, calls):
    from timing import one_turn

    return one_turn(arm, 1, calls)


MACHINE = dict(gpu="NVIDIA Example", capability="9.0", memory_gib=1, driver="1", cuda="13.0", nvcc="13.0", cpus=1)
GPU_HEADER = dict(date="2026-01-01", machine=MACHINE, torch="2.6", sources="of today")


def gpu_session(gpu, path, part, kept=(), **settings):
    kept = {row["row"]: row for row in kept}
    return gpu.Session(part, gpu.Results(path), GPU_HEADER, kept, device=torch.device("cpu"), clock=on_the_cpu, **settings)


def test_gpu_check_without_a_gpu_says_so_in_one_sentence():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    words = ["bash", str(BENCHMARKS / "gpu_check.sh"), "ops"]
    done = subprocess.run(words, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("There is no GPU to check: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words, said", [(["ops", "opps"], "there is no part opps"), (["--scenes", "nowhere"], "there is no folder nowhere")]
)
def test_gpu_check_refuses_what_it_does_not_know(gpu, words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        gpu.main(words)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_gpu_check_runs_each_part_alone_and_stops_without_a_build(gpu, monkeypatch):
    ran, fails = [], {"tests"}

    def run(words):
        ran.append(words[2:])
        return SimpleNamespace(returncode=int(words[2] in fails))

    monkeypatch.setattr(gpu.subprocess, "run", run)
    options = SimpleNamespace(resume=True, scenes=Path("data"), limit=None)
    assert not gpu.run_alone(list(gpu.PARTS), options)
    assert [words[0] for words in ran] == ["build", "tests", "sanitize", "ops", "peers", "scenes"]
    assert ran[0][1:] == ["--resume", "--scenes=data"]
    ran.clear()
    fails.add("build")
    assert not gpu.run_alone(["build", "ops"], options) and len(ran) == 1


def test_gpu_rows_hold_every_operation_and_every_target(gpu):
    import gpu_rows

    rows = gpu_rows.op_rows()
    assert {op for row in rows for op in row.ops} | {"ngp"} == {
        path.stem for path in (BENCHMARKS.parent / "nerfcore" / "ops").glob("[a-z]*.py")
    }
    names = [row.name for row in gpu_rows.peer_rows()]
    assert len(set(names)) == len(names) and len({row.name for row in rows}) == len(rows)
    assert {target.row for target in gpu.TARGETS if target.part == "peers"} <= set(names)
    libraries = {row.name: {f"x {name}" for name in row.peers} for row in gpu_rows.peer_rows()}
    assert all(target.figure in libraries[target.row] for target in gpu.TARGETS if target.part == "peers")


def test_gpu_rows_are_timed_and_counted(gpu):
    import gpu_rows

    cpu, rates = torch.device("cpu"), gpu_rows.ceilings(torch.device("cpu"), on_the_cpu, size=16)
    assert min(rates.values()) > 0
    rows = {}
    for row in gpu_rows.op_rows():
        rows[row.name] = gpu_rows.time_alone(row, row.work.small(), cpu, on_the_cpu, rates)
    for found in rows.values():
        assert 0 < found["fastest_ms"] <= found["ms"] and found["host_ms"] > 0 and found["bytes"] > 0
        assert found["share_of"]["copy"] > 0 and 0 <= found["cached_share"] < 1
    points, numbers = 2**10, 2**10 * 8 * 32
    grid = rows[gpu_rows.grid_name("forward", "rays", "float32")]
    assert grid["bytes"] == 140 * points + 4 * numbers and grid["gathered_bytes"] == 4 * numbers
    assert rows[gpu_rows.grid_name("forward", "rays", "float16")]["gathered_bytes"] == 2 * numbers
    entries = gpu_rows.GridWork(1, "rays", True).levels.num_entries
    backward = rows[gpu_rows.grid_name("backward to the table", "random", "float16")]
    assert backward["bytes"] == 140 * points + 8 * entries and backward["gathered_bytes"] == 4 * numbers
    products = 2 * (32 * 64 + 64 * 64 + 64 * 16) * points
    assert [rows[gpu_rows.mlp_name(way)]["flops"] for way in gpu_rows.PASSES] == [products, 3 * products]


def test_gpu_rows_beside_peers(gpu):
    """One that agrees, one that computes something else, one that raises and one that is not there."""
    import gpu_rows

    def raises(work, data):
        raise RuntimeError("no such GPU\nand more")

    row = gpu_rows.Row(
        "sh", ("spherical_harmonics",), gpu_rows.eager.Work("spherical_harmonics", 64), gpu_rows.operation,
        {
            "torch": lambda work, data: gpu_rows.operation(work, torch.device("cpu")).step,
            "math": lambda work, data: lambda: torch.zeros(64 * 16), "json": raises, "no_such_peer": raises,
        },
    )
    found = gpu_rows.time_beside_peers(row, row.work, torch.device("cpu"), on_the_cpu)
    assert set(found["peers_ms"]) == {"torch", "math"} and set(found["figures"]) == {"x torch", "x math"}
    assert found["figures"]["x torch"] == pytest.approx(found["peers_ms"]["torch"] / found["ms"])
    assert found["error"] == {"torch": 0.0, "math": pytest.approx(1.0)}
    assert gpu.differing(found) == ["math differs from ours by 100%"]
    assert found["absent"]["json"] == "json raised RuntimeError: no such GPU"
    assert "no_such_peer is left out: No module named 'no_such_peer'" in found["absent"]["no_such_peer"]


def test_gpu_networks_of_torch_compute_the_same(gpu):
    import gpu_rows

    (row,) = (row for row in gpu_rows.op_rows() if row.name == gpu_rows.mlp_name("forward"))
    found = gpu_rows.time_beside_peers(row, row.work.small(), torch.device("cpu"), on_the_cpu)
    assert found["error"]["torch"] < 0.02 and "tinycudann" in found["absent"]


def test_gpu_clock_counts_between_events(monkeypatch):
    """With a flush there are two events around every call, none around the flush; without, two around all."""
    import gpu_rows

    done = []
    event = SimpleNamespace(record=lambda: done.append("event"), elapsed_time=lambda after: 6.0)
    monkeypatch.setattr(gpu_rows, "_event", lambda: event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    turn = gpu_rows.device_turn(lambda: done.append("call"), 3)
    assert done == ["event", "call", "call", "call", "event", "wait"] and turn.wall == pytest.approx(2e-3)
    done.clear()
    flush = SimpleNamespace(zero_=lambda: done.append("flush"))
    turn = gpu_rows.device_turn(lambda: done.append("call"), 2, flush)
    assert done == 2 * ["flush", "event", "call", "event"] + ["wait"] and turn.wall == pytest.approx(6e-3)


def test_gpu_results_are_written_row_by_row_and_resumed(gpu, tmp_path):
    path = tmp_path / "gpu.json"
    gpu.Results(path).write("tests", GPU_HEADER | {"rows": []})

    def fails():
        raise RuntimeError("an illegal memory access\nsomewhere")

    session = gpu_session(gpu, path, "ops", limit=60.0)
    session.add("a", "1", lambda: {"ms": 1.0}, ceilings={})
    assert list(gpu.Results(path).read()["ops"]) == [*GPU_HEADER, "seconds", "ceilings", "rows"]
    session.add("b", "1", fails)
    session.add("c", "1", lambda: {"ms": 1.0})
    first = gpu.Results(path).read()
    assert set(first) == {"tests", "ops"} and [row["row"] for row in first["ops"]["rows"]] == ["a", "b", "c"]
    assert first["ops"]["rows"][1]["failed"] == "RuntimeError: an illegal memory access" and session.failed

    session = gpu_session(gpu, path, "ops", first["ops"]["rows"], limit=60.0)
    session.add("a", "1", lambda: {"ms": 2.0})  # kept
    assert [row["row"] for row in gpu.Results(path).read()["ops"]["rows"]] == ["a", "b", "c"]
    session.add("b", "1", lambda: {"ms": 2.0})  # failed before
    session.add("c", "2", lambda: {"ms": 2.0})  # its sources have changed
    assert [row["ms"] for row in gpu.Results(path).read()["ops"]["rows"]] == [1.0, 2.0, 2.0] and not session.failed

    session = gpu_session(gpu, path, "ops", limit=-1.0)
    session.add("a", "1", lambda: {"ms": 3.0})
    assert "--resume goes on" in gpu.Results(path).read()["ops"]["rows"][0]["failed"]


def test_gpu_check_resumes_on_the_same_machine_only(gpu, tmp_path, monkeypatch):
    path, header, measured = tmp_path / "gpu.json", dict(GPU_HEADER), []
    monkeypatch.setattr(gpu, "header", lambda: header)
    monkeypatch.setattr(gpu._extension, "unavailable", lambda device: None)
    monkeypatch.setitem(gpu.PARTS, "ops", lambda session: session.add("a", "1", lambda: measured.append(1) or {"ms": 1.0}))

    def run(resume):
        assert gpu.run_part("ops", gpu.Results(path), SimpleNamespace(resume=resume, limit=None, scenes=None))
        return len(measured)

    assert [run(True), run(True), run(False)] == [1, 1, 2]
    header["machine"] = MACHINE | {"driver": "2"}
    assert [run(True), run(True)] == [3, 3]
    monkeypatch.setattr(gpu._extension, "unavailable", lambda device: "nvcc was not found")
    with pytest.raises(gpu.NerfcoreError, match="ops needs the compiled kernels: nvcc was not found"):
        run(True)


def test_gpu_targets(gpu, capsys):
    row = {"row": "work", "figures": {"x torch": 5.0, "host waits": 0.5}, "absent": {"nerfacc": "nerfacc is left out"}}
    parts = {"peers": {"rows": [row, {"row": "other", "failed": "RuntimeError: no"}]}}

    def verdict(row, figure, **bound):
        return gpu.Target("peers", row, figure, **bound).verdict(parts)

    assert verdict("work", "x torch", least=5)["met"] is True and verdict("work", "x torch", least=5.1)["met"] is False
    assert verdict("work", "host waits", most=0) == {
        "work": "work", "asks": "≤ 0 host waits", "found": 0.5, "met": False,
    }
    assert verdict("work", "x nerfacc", least=2)["why"] == "nerfacc is left out"
    assert verdict("other", "x torch", least=2)["why"] == "RuntimeError: no"
    assert verdict("none", "x torch", least=2) == {
        "work": "none", "asks": "≥ 2 x torch", "found": None, "met": None, "why": "not measured",
    }
    gpu.print_verdicts({"scenes": {"rows": [{"row": "chair@5", "figures": {"dB": 29.0}}]}}, ["scenes"])
    printed = capsys.readouterr().out
    assert "0 of 5 targets are met" in printed and "missed: 29" in printed and "not measured" in printed


def test_gpu_tests_and_names(gpu):
    unread = "ERROR tests/cli/test_main.py - ModuleNotFoundError: No module named 'tyro'"
    failed = "FAILED tests/ops/test_mlp.py::test_values[cuda] - AssertionError: mlp.py"
    assert gpu.of_pytest(0, ["....", "4 passed in 1.0s"]) == {"said": "4 passed in 1.0s", "unread": []}
    assert gpu.of_pytest(1, [unread, "4 passed, 1 error in 1.0s"])["unread"] == [unread]
    assert gpu.of_pytest(1, [unread, failed, "1 failed"]) == {"failed": "1 failed", "failures": [unread, failed]}
    assert gpu.of_pytest(-1, ["stopped after 1 s"])["failed"] == "stopped after 1 s"
    assert gpu.file_name("NVIDIA H200") == "nvidia-h200.json"
    code, lines = gpu.finished([sys.executable, "-c", "import os; print(os.environ['WORD'])"], {"WORD": "said"}, None)
    assert (code, lines) == (0, ["said"])
    code, (line,) = gpu.finished([sys.executable, "-c", "import time; time.sleep(9)"], {}, 0.1)
    assert code == -1 and line.startswith("stopped after")


def test_gpu_waits_are_those_of_the_watched_steps(gpu):
    kinds = torch.autograd.DeviceType

    def event(name, start, end, kind=kinds.CPU):
        return SimpleNamespace(name=name, device_type=kind, time_range=SimpleNamespace(start=start, end=end))

    span = event("watched steps", 10, 20)
    calls = [event("cudaLaunchKernel", 11, 12), event("cudaStreamSynchronize", 12, 13), event("cudaMemcpy", 14, 15)]
    outside = [event("cudaDeviceSynchronize", 5, 6), event("cudaDeviceSynchronize", 21, 22)]
    on_the_device = [event("watched steps", 0, 99, kinds.CUDA), event("cudaMemcpy", 15, 16, kinds.CUDA)]
    assert gpu.count_waits([*on_the_device, span, *calls, *outside], warned=7) == 2
    assert gpu.count_waits([span, calls[0]], warned=7) == 0
    assert gpu.count_waits([span, *outside], warned=7) == 7  # the profiler saw no launch


def test_gpu_scenes_on_the_cpu(gpu, tmp_path, monkeypatch, capsys):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    metrics = {"psnr": 20.0, "ssim": 0.5, "num_eval_images": 20}  # pictures of fog take a CPU minutes
    monkeypatch.setattr(gpu.nerfcore, "evaluate", lambda model, scene: SimpleNamespace(metrics=metrics))
    monkeypatch.setattr(gpu, "BUILTIN", (gpu.Mark("builtin", 1),))
    monkeypatch.setattr(gpu, "STEPS_BEFORE", 2)
    monkeypatch.setattr(gpu, "frame_rate", partial(gpu.frame_rate, side=16))
    monkeypatch.setattr(gpu, "host_waits", partial(gpu.host_waits, steps=2))
    path = tmp_path / "gpu.json"
    session = gpu_session(gpu, path, "scenes")
    gpu.scenes(session)
    trained, rendered, stepped = gpu.Results(path).read()["scenes"]["rows"]
    assert trained["row"] == "builtin@1" and trained["figures"] == {"dB": 20.0} and trained["seconds"] >= 1 and trained["steps"] > 0
    assert rendered["row"] == "render 800x800 of builtin" and rendered["figures"]["frames/s"] > 0
    assert stepped["figures"] == {"host waits": 0} and modes == ["warn", "default"] and stepped["steps"] == 2
    gpu.scenes(gpu_session(gpu, path, "scenes", scenes=tmp_path))
    assert f"fox is skipped, because {tmp_path} has no folder of that name" in capsys.readouterr().out


def test_performance_page_of_a_gpu(gpu, tmp_path, monkeypatch):
    import gpu_rows

    write_page = runpy.run_path(str(BENCHMARKS.parent / "docs" / "performance.py"))["main"]
    write_page(tmp_path, tmp_path)
    assert "Nothing has been measured yet: `benchmarks/gpu_check.sh`" in (tmp_path / "performance.md").read_text("utf-8")

    rows = [replace(row, work=row.work.small()) for row in gpu_rows.peer_rows() if row.ops == ("mlp",)]
    monkeypatch.setattr(gpu_rows, "op_rows", lambda: rows[:2])
    monkeypatch.setattr(gpu_rows, "peer_rows", lambda: rows[:2])
    monkeypatch.setattr(gpu_rows, "ceilings", partial(gpu_rows.ceilings, size=16))
    alone = gpu_rows.time_alone
    monkeypatch.setattr(gpu_rows, "time_alone", lambda *words: alone(*words) | {"cold_ms": 1.0})
    path = tmp_path / "nvidia-example.json"
    for part in ("ops", "peers"):
        gpu.PARTS[part](gpu_session(gpu, path, part))
    gpu_session(gpu, path, "tests").add("pytest", gpu.part_digest("tests"), lambda: {"failed": "1 failed"})
    write_page(tmp_path, tmp_path)
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert "## On a GPU: NVIDIA Example" in page and "- pytest: failed: 1 failed" in page and "(stale)" not in page
    assert f"| {rows[0].name} | ≥ 5 x torch | " in page and "| chair@5 | ≥ 30 dB | not measured |" in page
    assert "tinycudann is left out" in page and "driver 1" in page
    path.write_text(path.read_text("utf-8").replace(rows[1].digest(), "of older sources"), encoding="utf-8")
    write_page(tmp_path, tmp_path)
    assert f"| {rows[1].name} (stale) |" in (tmp_path / "performance.md").read_text(encoding="utf-8")


def test_poses_are_disturbed_by_what_is_said_and_the_verdict_is_of_what_was_lost():
    poses = runpy.run_path(str(BENCHMARKS / "poses.py"))
    scene = nerfcore.load_scene(downscale=8)
    true, wrong = scene.train.poses, poses["disturbed"](scene, seed=3).train.poses
    angles = torch.rad2deg(rotation_angle(true[:, :, :3], wrong[:, :, :3]))
    distance = (true[:, :, 3] - scene.transform.world_box.mean(0)).norm(dim=-1)
    assert torch.allclose(angles, torch.tensor(2.0), atol=1e-3)
    assert torch.allclose((wrong - true)[:, :, 3].norm(dim=-1), 0.02 * distance, rtol=1e-3)
    rows = {"given": 35.0, "disturbed": 25.0, "recovered": 34.5}
    (verdict,) = poses["verdicts"]({arm: dict(scene="chair", psnr=psnr, rotation=0.2) for arm, psnr in rows.items()})
    assert "95.0 % of 10.00 dB" in verdict and "0.200 degrees" in verdict
