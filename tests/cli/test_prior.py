"""`nerfcore prior`: train leaves a folder, sample and eval take it, and what cannot be is said in one sentence."""

import json
import shlex
import subprocess
import sys
import types
from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from torch import nn

from nerfcore.cli.main import main
from nerfcore.cli.prior import pairs
from nerfcore.errors import NerfcoreError
from nerfcore.priors import scores
from nerfcore.priors.base import PRIORS, Facts, Prior
from nerfcore.training.checkpoint import write_tensors

TINY = ("--steps", "3", "--size", "16", "--config", "code=4", "widths=[8]")


class Painter(Prior):
    """Grey by label, or by the length of a caption; red is chance."""

    def __init__(self, facts, **config):
        super().__init__(facts, **config)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def sample(self, count, generator, labels=None, captions=None):
        grey = labels if captions is None else torch.tensor([len(caption) for caption in captions])
        noise = torch.rand(count, 1, 4, 4, generator=generator)
        return torch.cat((noise, (self.scale * grey - 1).view(-1, 1, 1, 1).expand(-1, 2, 4, 4)), 1)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Writes a model of what needs labels or captions, and returns its folder."""

    def write(needs):
        made = type("Made", (Painter,), {"needs": needs, "name": "painter"})
        monkeypatch.setitem(PRIORS, "painter", made)
        facts = dict(shape=[3, 4, 4], labels=["dark", "dim", "grey"], merges=[[97, 98]])
        prior = made(Facts((3, 4, 4), ("dark", "dim", "grey"), ((97, 98),)))
        write_tensors(tmp_path / "model.nerf", prior.state_dict(), dict(prior="painter", facts=facts, config={}))
        return tmp_path

    return write


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Of coarse noise; seven of 49 are held out."""
    folder = tmp_path_factory.mktemp("data") / "photographs"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(49):
        small = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        iio.imwrite(folder / f"{i:02}.png", small.repeat(8, 0).repeat(8, 1))
    return folder


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["prior", "train", "autoencoder", str(photographs), "--out", str(out), *TINY]) == 0
    return out


def fails(capsys, *argv):
    """Runs a command that must fail and returns its one sentence."""
    assert main(["prior", *map(str, argv)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("nerfcore: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def greys(path, count):
    """Of the third channel of the pictures in a grid: values in [0, 255]."""
    grid = iio.imread(path)
    side, columns = 50, min(count, 8)  # 48 pixels with a frame
    return [int(grid[side * (i // columns) + 25, side * (i % columns) + 25, 2]) for i in range(count)]


def test_help_needs_no_torch():
    code = """import sys; from nerfcore.cli.main import main
try: main(['prior', 'train', '--help'])
finally: assert 'torch' not in sys.modules"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--batch-size" in done.stdout


def test_train_leaves_the_run_folder(trained):
    files = {path.name for path in trained.iterdir()}
    assert {"checkpoint", "config.yaml", "metrics.jsonl", "model.nerf", "report.html", "samples.png"} <= files
    assert "widths" in (trained / "config.yaml").read_text()


def test_resume_goes_on(trained, photographs, tmp_path, capsys):
    argv = ["prior", "train", "autoencoder", str(photographs), "--out", str(trained), "--resume", *TINY]
    argv[argv.index("--steps") + 1] = "5"
    assert main(argv) == 0
    assert "5 steps" in capsys.readouterr().out


def test_samples_depend_on_the_seed_and_on_nothing_else(trained, tmp_path, capsys):
    drawn = []
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        out = tmp_path / f"{name}.png"
        assert main(["prior", "sample", str(trained), "--count", "10", "--seed", str(seed), "--out", str(out)]) == 0
        drawn.append(iio.imread(out))
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    assert drawn[0].shape == (2 * 50, 8 * 50, 3)
    assert main(["prior", "sample", str(trained / "model.nerf"), "--count", "1"]) == 0
    assert (trained / "drawn.png").is_file()


def test_labels_are_drawn_by_name_or_in_turn(saved, tmp_path):
    folder = saved(("labels",))
    assert main(["prior", "sample", str(folder), "--count", "4", "--label", "grey"]) == 0
    assert len(set(greys(folder / "drawn.png", 4))) == 1
    assert main(["prior", "sample", str(folder), "--count", "4"]) == 0
    dark, dim, grey, again = greys(folder / "drawn.png", 4)
    assert dark < dim < grey and again == dark


def test_captions_are_drawn_as_they_are_said(saved):
    folder = saved(("merges",))
    assert main(["prior", "sample", str(folder), "--count", "2", "--caption", "ab"]) == 0
    assert greys(folder / "drawn.png", 2) == [128, 128]  # 0.5 * 2 - 1, as a byte


def test_what_a_prior_does_not_know_is_said(saved, capsys, trained):
    assert "choose dark, dim, grey" in fails(capsys, "sample", saved(("labels",)), "--label", "black")
    assert "knows no captions" in fails(capsys, "sample", saved(("labels",)), "--caption", "a red cube")
    assert "--caption" in fails(capsys, "sample", saved(("merges",)))
    assert "knows no labels" in fails(capsys, "sample", trained, "--label", "boot")
    assert "positive" in fails(capsys, "sample", trained, "--count", "0")


def test_eval_writes_figures_with_their_bounds(trained, photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scores, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(scores, "feature_net", partial(scores.feature_net, steps=3))
    assert main(["prior", "eval", str(trained), str(photographs), "--json", str(tmp_path / "scores.json")]) == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["schema"] == 1 and found["prior"] == "autoencoder" and found["count"] == 7
    assert found["reconstruction_mse"] > 0 and {"distance", "floor", "ceiling", "kernel_distance"} <= set(found)
    out = capsys.readouterr().out
    assert f"(floor {found['floor']:.4g}, ceiling {found['ceiling']:.4g})" in out
    assert f"recall            {found['recall']:.3f}" in out
    assert "at least 6" in fails(capsys, "eval", trained, photographs, "--count", 5)


def test_inception_is_asked_for_before_anything_is_drawn(trained, photographs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setattr("nerfcore.data.examples.load_examples", pytest.fail)
    assert "torchvision" in fails(capsys, "eval", trained, photographs, "--features", "inception")


def test_bad_names_data_and_models_end_in_one_sentence(trained, photographs, tmp_path, capsys):
    names = fails(capsys, "train", "painting", photographs)
    assert "painting" in names and "autoencoder" in names
    out = ("--out", tmp_path / "run")
    assert str(tmp_path / "absent") in fails(capsys, "train", "autoencoder", tmp_path / "absent", *out, *TINY)
    assert "key=value" in fails(capsys, "train", "autoencoder", photographs, *out, "--config", "code")
    assert "both" in fails(capsys, "train", "autoencoder", photographs, *out, *TINY[:4], "--minutes", 1)
    assert str(tmp_path / "absent") in fails(capsys, "sample", tmp_path / "absent")
    assert "[3, 16, 16]" in fails(capsys, "eval", trained, grey_digits(tmp_path / "digits"))


def grey_digits(folder):
    """Idx files of ten pictures of one channel."""
    folder.mkdir()
    head = bytes((0, 0, 8))
    sizes = b"".join(n.to_bytes(4, "big") for n in (10, 28, 28))
    (folder / "images-idx3-ubyte").write_bytes(head + b"\3" + sizes + bytes(10 * 28 * 28))
    (folder / "labels-idx1-ubyte").write_bytes(head + b"\1" + (10).to_bytes(4, "big") + bytes(range(10)))
    return folder


def test_interrupted_training_says_how_to_go_on(monkeypatch, tmp_path, photographs, capsys):
    calls = []

    def train_prior(name, examples, out, *, resume, on_progress, **settings):
        calls.append(dict(name=name, count=len(examples), out=out, **settings))
        return types.SimpleNamespace(interrupted=True, steps=123)

    monkeypatch.setattr("nerfcore.priors.training.train_prior", train_prior)
    argv = ["prior", "train", "autoencoder", str(photographs), "--out", str(tmp_path / "a run"), "--minutes", "2.5"]
    assert main([*argv, "--count", "9", "--seed", "3", "--config", "code=4", "activation=relu"]) == 130
    message = capsys.readouterr().out.splitlines()[-1]
    assert "step 123" in message and "--resume" in message
    assert main(shlex.split(message[message.index("nerfcore prior") :])[1:]) == 130
    assert calls[0] == calls[1] and calls[0]["code"] == 4 and calls[0]["activation"] == "relu"


def test_values_of_a_configuration():
    found = pairs(("a=3", "b=1e-3", "c=true", "d=[1, 2]", "e=conv", "f=0.5", "g=x=y"))
    assert found == dict(a=3, b=1e-3, c=True, d=[1, 2], e="conv", f=0.5, g="x=y") and isinstance(found["a"], int)
    with pytest.raises(NerfcoreError, match="no value"):
        pairs(("a=[1",))
