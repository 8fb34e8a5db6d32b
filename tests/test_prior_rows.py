"""The table of priors: its rows say what is asked and what they depend on, and what they share does what it says."""

from __future__ import annotations

import json
import math
import runpy
from argparse import Namespace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def table():
    return import_module("priors").PRIORS


@pytest.fixture
def common():
    return import_module("prior_rows._common")


@pytest.fixture
def made_up(table, monkeypatch, tmp_path):
    """Results of a row that takes no time."""
    name = table.rows[0]

    def measure(options):
        options.pictures.mkdir(exist_ok=True)
        (options.pictures / f"{name}.png").write_bytes(b"a picture")
        return dict(holds=True, distance=1.25, seeds=options.seeds)

    monkeypatch.setattr(table.module(name), "measure", measure)
    monkeypatch.setattr(table.module(name), "TARGET", dict(distance=2))
    words = ["--rows", name, "--json", str(tmp_path), "--pictures", str(tmp_path / "priors"), "--seeds", "4"]
    import_module("priors").main([str(tmp_path), *words])
    return name


def test_every_row_says_what_is_asked_and_what_it_depends_on(kernels, table):
    digests = [table.digest(name) for name in table.rows]
    assert len(set(digests)) == len(digests) > 0
    for name in table.rows:
        module = table.module(name)
        assert module.TARGET and module.MODULES and callable(module.measure)


def test_a_row_depends_on_the_prior_of_its_name_and_on_what_scores_it(table, monkeypatch):
    common = import_module("common")
    asked = []
    monkeypatch.setattr(common, "kernel_sources", lambda *ops: set())
    monkeypatch.setattr(common, "digest", lambda paths, *words: asked.extend(paths) or "")
    common.sources_digest.cache_clear()
    import_module("priors").row_sources("autoencoder", "nerfcore.data.shapes")
    common.sources_digest.cache_clear()
    names = {str(path.relative_to(ROOT)) for path in asked}
    parts = "priors/autoencoder", "priors/base", "priors/scores", "metrics/features", "metrics/generative", "data/shapes"
    assert {f"nerfcore/{part}.py" for part in parts} <= names and "nerfcore/priors/dcgan.py" not in names


def test_a_row_is_written_with_all_that_it_depends_on(kernels, table, made_up, tmp_path, capsys):
    result = json.loads((tmp_path / f"cpu-prior-{made_up}.json").read_text())
    assert result["row"] == made_up and result["holds"] and result["machine"] and result["target"] == {"distance": 2}
    assert result["digest"] == table.digest(made_up) and result["seeds"] == [4]
    assert "trial" not in result


def test_the_page_says_what_holds_and_what_was_not_measured(kernels, table, made_up, tmp_path, monkeypatch):
    write_page = runpy.run_path(str(ROOT / "docs" / "priors.py"))["main"]
    monkeypatch.setattr(type(table), "rows", property(lambda self: (made_up, "zebra")))
    write_page(tmp_path, tmp_path)
    text = (tmp_path / "priors.md").read_text(encoding="utf-8")
    assert f"| {made_up} | distance 2 | yes | distance 1.25 |" in text and "| zebra | – | not measured | – |" in text
    assert f"![{made_up}](priors/{made_up}.png)" in text and "(stale)" not in text
    assert f"| {made_up} | {made_up} |  |  | 1.25 |  |  |  |" in text  # of all systems
    file = tmp_path / f"cpu-prior-{made_up}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(digest="another", holds=False)))
    write_page(tmp_path, tmp_path)
    text = (tmp_path / "priors.md").read_text(encoding="utf-8")
    assert f"| {made_up} (stale) | distance 2 | **no** |" in text
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(trial=0.5)))
    write_page(tmp_path, tmp_path)
    assert "| **no** (a trial) |" in (tmp_path / "priors.md").read_text(encoding="utf-8")


def test_systems_are_found_wherever_they_stand():
    systems = runpy.run_path(str(ROOT / "docs" / "priors.py"))["systems"]
    one = dict(target=dict(distance="low"), found=dict(distance=2.0), runs=[dict(vae=dict(distance=3.0)), dict(vae=dict(distance=4.0))])
    assert list(systems(one, "row")) == [("found", dict(distance=2.0)), ("vae", dict(distance=3.0))]
    seen = dict(bank=dict(mean=0.9, mean_error=0.1, shape=dict(accuracy=0.8)), mean_time=3)
    assert list(systems(seen, "row")) == [("bank", seen["bank"])]


def test_garments_are_grouped_each_once(common):
    from nerfcore.data.examples import FASHION

    groups = common.grouped(torch.arange(10), FASHION).tolist()
    assert sorted(name for names in common.GROUPS.values() for name in names) == sorted(FASHION)
    of = dict(zip(FASHION, groups, strict=True))
    assert of["coat"] == of["shirt"] != of["bag"] and of["sandal"] == of["ankle boot"] != of["trouser"]


def test_better_is_beyond_two_standard_errors_of_the_difference(common):
    less, more = dict(distance=1.0, distance_error=0.3), dict(distance=2.0, distance_error=0.4)
    assert not common.better(less, more)  # 1.0 is exactly two of 0.5
    assert common.better(less, more | dict(distance=2.01)) and not common.better(more, less)


def test_pictures_and_a_judge_of_single_objects(common, tmp_path, monkeypatch):
    monkeypatch.setattr(import_module("nerfcore.data.shapes"), "cache_dir", lambda: tmp_path)
    options = Namespace(folder=tmp_path, share=0.0, pictures=tmp_path, scale="cpu")
    train, test = common.shapes(options, 16, alone=True)
    assert 60 < len(train) < 140 and (train.attributes["arrangement"] == 0).all()
    assert not any(" of " in caption for caption in (*train.captions, *test.captions))
    monkeypatch.setattr(common, "JUDGE_PICTURES", 300)
    judge = common.shapes_judge(options, 16)
    assert list(judge.real) == ["shape", "colour", "size", "material"]
    found = judge.verdict("colour", common.all_pictures(test), test.attributes["colour"])
    assert found["accuracy"] > 1.5 / 8 and found["void"]  # of 50 steps
    common.show(options, "grid", common.all_pictures(train)[:20], columns=5)
    assert iio.imread(tmp_path / "grid.png").shape == (4 * 50, 5 * 50, 3)
    common.show(SimpleNamespace(pictures=None), "nothing", None)
    assert not (tmp_path / "nothing.png").exists()


def test_pairs_of_codes_are_worth_what_they_tell():
    """Of a chain that stays with probability 0.9 among four codes, its entropy is found, and of a fair one two bits."""
    row, random = import_module("prior_rows.transformer"), torch.Generator().manual_seed(0)
    stays = torch.rand(20_000, 50, generator=random) < 0.9
    chain = torch.randint(4, stays.shape, generator=random)
    fair = chain.clone()
    for at in range(1, 50):
        chain[:, at] = torch.where(stays[:, at], chain[:, at - 1], chain[:, at])
    stay = 0.9 + 0.1 / 4
    entropy = -(stay * math.log2(stay) + 3 * 0.025 * math.log2(0.025))
    expected = (2 + 49 * entropy) / 50
    assert row.bigram_bits(chain[:10_000], chain[10_000:], 4) == pytest.approx(expected, rel=0.01)
    assert row.bigram_bits(fair[:10_000], fair[10_000:], 4) == pytest.approx(2, rel=0.001)


def test_a_seam_is_a_step_in_the_middle():
    row, random = import_module("prior_rows.transformer"), torch.Generator().manual_seed(0)
    noise = torch.randn(100, 1, 32, 32, generator=random)
    plain = row.seams(noise, 4)
    assert abs(plain["rows"] - 1) < 3 * plain["rows_error"] and abs(plain["columns"] - 1) < 3 * plain["columns_error"]
    noise[..., 16:] += 2
    torn = row.seams(noise, 4)
    assert torn["columns"] - 1 > 10 * torn["columns_error"] and abs(torn["rows"] - 1) < 3 * torn["rows_error"]
