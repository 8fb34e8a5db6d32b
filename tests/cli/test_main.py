"""The command line without training: options, errors in one sentence, exit codes."""

import json
import shlex
import shutil
import subprocess
import sys
import types
import warnings

import imageio.v3 as iio
import numpy as np
import pytest
import yaml

import nerfcore
from nerfcore.cli.main import main
from nerfcore.training.config import TrainConfig

QUICK = ("--backend", "reference", "--steps", 1)
POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]


@pytest.fixture
def capture(tmp_path):
    """A small capture that loads: three photos in instant-ngp form."""
    folder = tmp_path / "capture"
    folder.mkdir()
    for i in range(3):
        iio.imwrite(folder / f"{i}.png", np.full((12, 16, 3), 50 * i, np.uint8))
    write_transforms(folder, [{"file_path": f"{i}.png", "transform_matrix": POSE} for i in range(3)])
    return folder


def write_transforms(folder, frames):
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 20, "w": 16, "h": 12, "frames": frames}))


def settings(*argv, capsys):
    assert main(["train", *argv, "--print-config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def fails(capsys, *argv):
    """Runs a command that must fail and returns its one sentence."""
    assert main([str(word) for word in argv]) == 1
    err = capsys.readouterr().err
    assert err.startswith("nerfcore: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


def test_help_is_quick_and_needs_no_torch():
    code = """import sys; from nerfcore.cli.main import main
try: main(['train', '--help'])
finally: assert 'torch' not in sys.modules"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--minutes" in done.stdout


def test_options_come_in_any_order(capsys):
    expected = settings("scene", "--steps", "7", "--out", "run", "--preset", "fast", capsys=capsys)
    assert (expected["scene"], expected["out"], expected["steps"], expected["preset"]) == ("scene", "run", 7, "fast")
    assert settings("--steps", "7", "scene", "--preset", "fast", "--out", "run", capsys=capsys) == expected
    assert settings("--preset=fast", "--out", "run", "--steps", "7", "scene", capsys=capsys) == expected


def test_a_box_is_six_numbers_and_may_be_below_zero(capsys):
    corners = "-1", "-2", "-3.5", "1", "2", "1e1"
    found = settings("scene", "--box", *corners, "--scale", "0.5", capsys=capsys)
    assert found["box"] == [-1, -2, -3.5, 1, 2, 10] and found["scale"] == 0.5


def test_defaults_of_train(capsys):
    found = settings(capsys=capsys)
    assert found["scene"] is None and found["out"] == "runs/builtin" and found["minutes"] == 5
    assert {name: found[name] for name in vars(TrainConfig())} == vars(TrainConfig())
    assert settings("some/fox", capsys=capsys)["out"] == "runs/fox"


@pytest.mark.parametrize("argv", [["train", "--no-such-option"], ["export", "run"], ["paint"], []])
def test_wrong_options_end_with_status_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2


def damage_missing(folder):
    shutil.rmtree(folder)


def damage_empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def damage_json(folder):
    file = folder / "transforms.json"
    file.write_text(file.read_text()[:100])


def damage_all_frames(folder):
    write_transforms(folder, [{"file_path": f"absent{i}.png", "transform_matrix": POSE} for i in range(3)])


def damage_image(folder):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:40])


def damage_size(folder):
    iio.imwrite(folder / "1.png", np.zeros((8, 8, 3), np.uint8))


def damage_pose(folder):
    frames = [{"file_path": f"{i}.png", "transform_matrix": POSE} for i in range(3)]
    frames[1]["transform_matrix"] = [[float("nan")] * 4, *POSE[1:]]
    write_transforms(folder, frames)


def damage_form(folder):
    (folder / "transforms.json").rename(folder / "cameras.xml")


@pytest.mark.parametrize("damage", [
    damage_missing, damage_empty, damage_json, damage_all_frames, damage_image, damage_size, damage_pose, damage_form,
])
def test_bad_scenes_end_in_one_sentence(damage, capture, tmp_path, capsys):
    damage(capture)
    assert str(capture) in fails(capsys, "train", capture, "--out", tmp_path / "run", *QUICK)


def test_unwritable_output(capture, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "cannot be written" in fails(capsys, "train", capture, "--out", tmp_path / "file" / "run", *QUICK)


@pytest.mark.parametrize("command", [["eval"], ["render"], ["export"]])
def test_bad_models_end_in_one_sentence(command, tmp_path, capsys):
    more = [tmp_path / "mesh.glb"] if command == ["export"] else []
    assert str(tmp_path / "absent") in fails(capsys, *command, tmp_path / "absent", *more)
    (tmp_path / "model.nerf").write_bytes(b"not a model at all")
    assert "model.nerf" in fails(capsys, *command, tmp_path, *more)


@pytest.mark.parametrize("option", [["--steps", "-1"], ["--downscale", "0"], ["--field", "none"]])
def test_bad_settings_end_in_one_sentence(option, capture, tmp_path, capsys):
    assert option[1] in fails(capsys, "train", capture, "--out", tmp_path / "run", *QUICK, *option)


def test_interrupted_training_says_how_to_go_on(monkeypatch, tmp_path, capsys):
    calls = []

    def train(scene, out, *, resume, on_progress, **settings):
        calls.append(dict(scene=scene, out=out, **settings))
        on_progress(types.SimpleNamespace(stage="saving", step=123, fraction=0.5))
        return types.SimpleNamespace(interrupted=True, out=out)

    monkeypatch.setattr(nerfcore, "train", train, raising=False)
    argv = ["train", "a scene", "--out", str(tmp_path / "r"), "--minutes", "2.5", "--preset", "fast", "--seed", "3"]
    assert main([*argv, "--video", "--box", *"-1 0 0 1 2 3".split()]) == 130
    message = capsys.readouterr().out.splitlines()[-1]
    assert "step 123" in message and "--resume" in message and "--video" in message

    assert main(shlex.split(message[message.index("nerfcore train") :])[1:]) == 130
    assert calls[0] == calls[1]


def test_ctrl_c_elsewhere_ends_quietly(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(nerfcore, "load", stop, raising=False)
    assert main(["render", "run"]) == 130
    assert capsys.readouterr().err == "nerfcore: stopped\n"


def test_warnings_are_one_line(monkeypatch, capsys):
    def load(*_):
        warnings.warn("look\nhere", stacklevel=1)
        raise ValueError("enough")

    monkeypatch.setattr(nerfcore, "load", load, raising=False)
    assert main(["render", "run"]) == 1
    assert capsys.readouterr().err == "nerfcore: warning: look here\nnerfcore: enough\n"


def test_doctor_names_what_it_found(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in ("torch", "architecture", "SIMD level", "threads", "compiler", "cache", "kernels", "CUDA", "composite"):
        assert f"\n{name} " in out, name


def test_doctor_without_a_compiler(monkeypatch, capsys):
    from nerfcore import _extension

    facts = _extension.status() | {"compiled": False, "problem": "no compiler was found; install one"}
    monkeypatch.setattr(_extension, "status", lambda: facts)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "unusable: no compiler" in out and "cpu: PyTorch reference" in out and "C++ kernel" not in out
