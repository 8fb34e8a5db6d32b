"""`nerfcore train` on the built-in scene in a process of its own, and every subcommand that takes what it leaves."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest
import trimesh

import nerfcore
from nerfcore.cli.main import main
from nerfcore.data.camera_path import CameraPath, Shot, write_camera_path
from tests.data import captures

NERFCORE = [sys.executable, "-m", "nerfcore.cli.main"]
SMALL = ["--preset", "fast", "--downscale", "8", "--min-rays", "64", "--samples-per-step", "4096"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run folder of 50 steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    done = subprocess.run([*NERFCORE, "train", *SMALL, "--steps", "50", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^PSNR +\d+\.\d\d dB \(\d+ held-out views on white\)$", done.stdout, re.MULTILINE), done.stdout
    return out


def test_train_leaves_the_run_folder(trained):
    files = {path.name for path in trained.iterdir()}
    assert {"checkpoint", "config.yaml", "metrics.json", "metrics.jsonl", "model.nerf", "report.html"} <= files
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["schema"] >= 1 and metrics["steps"] == 50
    report = (trained / "report.html").read_text(encoding="utf-8")
    assert f"{metrics['psnr']:.2f}" in report and f"{metrics['ssim']:.4f}" in report


def test_eval_repeats_the_scores_of_training(trained, tmp_path, capsys):
    assert main(["eval", str(trained), "--json", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    trained_scores = json.loads((trained / "metrics.json").read_text())
    assert scores["psnr"] == pytest.approx(trained_scores["psnr"], abs=1e-3)
    assert f"{scores['psnr']:.2f} dB" in capsys.readouterr().out


def test_render_writes_video_and_stills(trained, tmp_path):
    out = tmp_path / "pictures"
    assert main(["render", str(trained / "model.nerf"), "--out", str(out), "--frames", "2", "--stills", "1"]) == 0
    assert len(list(out.glob("*.png"))) == 4 and (out / "stills.json").is_file()
    assert imageio_ffmpeg.count_frames_and_secs(str(out / "video.mp4"))[0] == 2


@pytest.mark.parametrize("lens", ["orthographic", "equirectangular"])
def test_render_through_another_lens(trained, tmp_path, lens):
    command = ["render", str(trained), "--out", str(tmp_path), "--frames", "1", "--stills", "0"]
    assert main([*command, "--lens", lens, "--size", "64", "32"]) == 0
    assert next(imageio_ffmpeg.read_frames(str(tmp_path / "video.mp4")))["size"] == (64, 32)


def test_render_along_a_path(trained, tmp_path):
    pose = nerfcore.load(trained).cameras[0][2].double()
    path = CameraPath.through([Shot(pose, 40.0), Shot(pose, 30.0)], seconds=0.5, fps=6, size=(48, 32))
    file = write_camera_path(path, tmp_path / "camera_path.json")
    command = ["render", str(trained), "--out", str(tmp_path), "--stills", "0", "--path", str(file)]
    assert main(command) == 0
    assert next(imageio_ffmpeg.read_frames(str(tmp_path / "video.mp4")))["size"] == (48, 32)
    assert imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "video.mp4"))[0] == 3
    assert main([*command, "--frames", "5"]) == 1


def test_export_writes_a_mesh(trained, tmp_path):
    file = tmp_path / "mesh.ply"
    assert main(["export", str(trained), str(file), "--resolution", "24", "--iso", "0.1"]) == 0
    assert len(trimesh.load(file).faces)


def test_a_scene_without_an_end_goes_the_whole_way(tmp_path):
    """Photographs of noise, contracted: train, resume, eval, render, export."""
    scene, out = captures.llff(tmp_path / "scene"), tmp_path / "run"
    train = ["train", str(scene), "--out", str(out), "--bounds", "contracted", *SMALL[:2], "--samples-per-step", "2048"]
    assert main([*train, "--steps", "10"]) == 0 and main([*train, "--steps", "20", "--resume"]) == 0
    assert main(["eval", str(out), "--json", str(tmp_path / "scores.json")]) == 0
    scores, metrics = (json.loads(file.read_text()) for file in (tmp_path / "scores.json", out / "metrics.json"))
    assert metrics["steps"] == 20 and scores["psnr"] == pytest.approx(metrics["psnr"], abs=1e-3)
    assert main(["render", str(out), "--frames", "1", "--stills", "1", "--lens", "orthographic"]) == 0
    assert len(list((out / "render").glob("*.png"))) == 4 and (out / "render" / "video.mp4").is_file()
    assert main(["export", str(out), str(tmp_path / "mesh.ply"), "--resolution", "16", "--iso", "1e-3"]) == 0
    mesh, (low, high) = trimesh.load(tmp_path / "mesh.ply"), nerfcore.load(out).world_box.numpy()
    cell = (high - low) / 15  # by half of which surfaces are closed outside
    assert len(mesh.faces) and (mesh.bounds[0] > low - cell).all() and (mesh.bounds[1] < high + cell).all()


def test_ctrl_c_saves_and_resume_goes_on(tmp_path):
    command = [*NERFCORE, "train", *SMALL, "--out", str(tmp_path)]
    # a shell that put the tests in the background made SIGINT ignored, which children inherit
    listen = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(
        [*command, "--steps", "1000000"], stdout=subprocess.PIPE, text=True, preexec_fn=listen
    ) as process:
        for line in process.stdout:
            if line.startswith("training"):
                process.send_signal(signal.SIGINT)
                break
        last = process.stdout.read().splitlines()[-1]
    assert process.returncode == 130
    step = int(re.search(r"Saved at step (\d+); go on with: nerfcore train .*--resume", last)[1])
    assert (tmp_path / "model.nerf").is_file()

    done = subprocess.run([*command, "--steps", str(step + 5), "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["steps"] == step + 5
