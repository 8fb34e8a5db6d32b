"""The rows of pictures and encodings, made small: they run, and say whether what is asked for holds."""

from __future__ import annotations

import json
import runpy
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def row_module(name):
    return import_module(f"field_rows.{name}")


def test_a_row_is_written_with_all_that_it_depends_on(kernels, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(row_module("position_encoding"), "PLACES", 256)
    fields = import_module("fields")
    fields.main([str(tmp_path), "--rows", "position_encoding", "--json", str(tmp_path)])
    result = json.loads((tmp_path / "cpu-field-position_encoding.json").read_text())
    assert result["row"] == "position_encoding" and result["holds"] and result["machine"] and result["target"]
    assert result["digest"] == fields.FIELDS.digest("position_encoding")
    assert "position_encoding: holds" in capsys.readouterr().out


def test_the_page_says_what_holds_and_what_was_not_measured(kernels, tmp_path, monkeypatch):
    monkeypatch.setattr(row_module("position_encoding"), "PLACES", 256)
    write_page = runpy.run_path(str(BENCHMARKS.parent / "docs" / "fields.py"))["main"]
    import_module("fields").main([str(tmp_path), "--rows", "position_encoding", "--json", str(tmp_path)])
    result = json.loads((tmp_path / "cpu-field-position_encoding.json").read_text())
    write_page(tmp_path, tmp_path)
    assert "| position_encoding | rotation_error 1e-09" in (text := (tmp_path / "fields.md").read_text())
    assert "| yes |" in text and "| nerf | – | not measured | – |" in text and "stale" not in text.split("\n\n", 2)[2]
    (tmp_path / "cpu-field-position_encoding.json").write_text(json.dumps(result | {"digest": "another"}))
    write_page(tmp_path, tmp_path)
    assert "| position_encoding (stale) |" in (tmp_path / "fields.md").read_text()


def test_every_row_says_what_is_asked_and_what_it_depends_on(kernels):
    table = import_module("fields").FIELDS
    for name in table.rows:
        module = row_module(name)
        assert module.TARGET and module.MODULES and len(table.digest(name)) == 16


def test_fourier_compares_encodings(shared_data, tmp_path, monkeypatch):
    row = row_module("fourier")
    small = dict(SIDE=32, FREQUENCIES=16, HIDDEN=32, HIGHEST=(8.0,), BANDWIDTHS=(3.0,), BATCH=256, CROP=16, DRAWS=2, WIDTH=64)
    for name, value in small.items():
        monkeypatch.setattr(row, name, value)
    result = row.measure(Namespace(folder=shared_data, seeds=[0], share=5 / row.STEPS))
    assert [p["picture"] for p in result["pictures"]] == ["albert", "astronaut", "chelsea", "coffee"]
    assert result["holds"] is False and 0.01 < result["shift_invariance"] < 1  # of two narrow networks
    assert max(result["kernel"]["infinite"].values()) < 1e-6 < result["kernel"]["infinite_without_features"]
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    row.draw(result, tmp_path)
    assert (tmp_path / "fourier.svg").read_text().count("albert") == 1


def test_the_made_picture_has_detail_everywhere_and_at_every_scale(monkeypatch):
    row, side = row_module("image"), 1024
    monkeypatch.setattr(row, "CELLS", (512, 128, 32, 8))
    strips = list(row.made_picture(side, rows=96))
    assert sum(len(s) for s in strips) == side and all(s.dtype == np.uint8 and s.shape[1:] == (side, 3) for s in strips)
    picture = np.concatenate(strips).astype(float)
    assert abs(np.diff(picture, axis=0)).max() < 40 and abs(np.diff(picture, axis=1)).max() < 40  # no seams
    for cell in (8, 32, 128, 512):
        blocks = picture.reshape(side // cell, cell, side // cell, cell, 3)
        assert np.median(blocks.std((1, 3))) > 1 and blocks.mean((1, 3)).std() > 5


def test_the_row_of_pictures_holds_only_with_both_its_bounds(kernels):
    row = row_module("image")
    good = dict(psnr=40.0, share_of_pixel_bytes=0.24)
    parts = dict(albert=dict(runs=[good]), gigapixel=dict(peak_rss_bytes=3 << 30), upsampling={})
    assert row.holds(parts)
    assert not row.holds(parts | dict(albert=dict(runs=[good, good | dict(psnr=35.9)])))
    assert not row.holds(parts | dict(albert=dict(runs=[good | dict(share_of_pixel_bytes=0.26)])))
    assert not row.holds(parts | dict(gigapixel=dict(peak_rss_bytes=5 << 30)))
