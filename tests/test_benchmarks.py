"""The benchmarks run and write what they say; how fast anything is, is not tested."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
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
        assert set(row["samples_per_second"]) == {"kernel", "reference"} and row["kernel_over_reference"] > 0
        assert row["no_peer"] and row["reference_over_peer"] is None
    assert "NERFCORE_PEERS is not set" in capsys.readouterr().out
