"""The benchmarks run and write what they say; how fast anything is, is not tested."""

from __future__ import annotations

import json
import runpy
import sys
import time
from functools import partial
from pathlib import Path

import pytest

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
    """One second instead of fifteen; a scene that is not there is skipped with a sentence."""
    names = runpy.run_path(str(BENCHMARKS / "quality.py"))
    assert {mark.scene for mark in names["MARKS"]} == {"builtin", "fox", "chair"}
    row = names["train_once"](names["Mark"]("builtin", 1, None), None, 0)
    assert row["psnr"] > 10 and row["steps"] > 0 and 0 < row["busy"] and row["wall"] >= 1
    names["main"](["--rows", "fox@15", "--json", str(tmp_path / "quality.json")])
    assert "fox@15: skipped, because FOLDER has no fox" in capsys.readouterr().out


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
