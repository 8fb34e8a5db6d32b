"""docs/your-own-scene.md, followed: every command as it stands there, in order, with smaller budgets."""

import json
import re
import shlex
from pathlib import Path
from urllib.request import urlopen

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
import torch
import trimesh

import nerfcore
from nerfcore.cameras import Camera, look_at
from nerfcore.cli import main as cli
from nerfcore.data.camera_path import CameraPath, Shot, write_camera_path
from tests.sfm.conftest import FOCAL, HEIGHT, WIDTH, photograph_of_corner

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "your-own-scene.md"
SMALLER = {  # what each command is given besides, and what of it gives way; all else is run as it stands
    "train": "--steps 300 --downscale 2 --preset fast --samples-per-step 8192 --box -1.5 -1.5 -1.5 1.5 1.5 1.5",  # soon solid
    "export": "--resolution 24",
    "render": "--size 64 48 --stills 1",
}
GIVES_WAY = r" --minutes \d+| --downscale \d+"
FEWER_FRAMES = " --frames 3"  # of a flight that is not on file


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def smaller(command: str) -> list[str]:
    """The arguments of ``nerfcore`` that are run in place of a command."""
    name = command.split()[1]
    if name in SMALLER:
        command = f"{re.sub(GIVES_WAY, '', command)} {SMALLER[name]}"
    if name == "render" and "--path" not in command:
        command += FEWER_FRAMES
    return shlex.split(command)[1:]


def test_what_is_installed_exists():
    extras = re.search(r"\[project.optional-dependencies\]\n(.*?)\n\[", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]
    (ours,) = (line for line in COMMANDS if re.match(r'pip install "?\.', line))
    assert set(re.search(r"\[(.*)\]", ours)[1].split(",")) <= set(re.findall(r"^(\w+) =", extras, re.MULTILINE))


def test_commands_in_the_text_are_understood(monkeypatch):
    """Those within sentences and in the table of remedies: parsed, not run."""
    ran = []
    for command in ("Train", "Process", "Check", "Doctor"):
        monkeypatch.setattr(getattr(cli, command), "run", lambda self: ran.append(self) or 0)
    written = re.findall(r"`nerfcore ([^`]+)`", PAGE.read_text(encoding="utf-8"))
    commands = [line for line in written if line.split()[0] in ("train", "check") or line.startswith("process walk")]
    assert len(commands) > 8
    for line in commands:
        assert cli.main(shlex.split(line)) == 0, line
    assert len(ran) == len(commands)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder in which the commands were run, and the address of each page that was asked for."""
    pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    pytest.importorskip("viser", reason="viser is not installed")
    import nerfcore.cli.view

    folder, pages = tmp_path_factory.mktemp("mine"), []
    (folder / "photos").mkdir()
    camera = Camera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
    for i, angle in enumerate(np.radians(np.linspace(15, 75, 10))):
        pose = look_at((3.2 * np.cos(angle), 3.2 * np.sin(angle), 1.3 + 0.5 * (i % 3)), (0.5, 0.5, 0.5)).double()
        iio.imwrite(folder / "photos" / f"IMG_{i:04d}.png", photograph_of_corner(pose, camera))

    def ask(viewer) -> None:
        """In place of waiting for Ctrl-C."""
        assert b"<html" in urlopen(viewer.url, timeout=30).read()
        pages.append(viewer.url)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(nerfcore.cli.view, "stay_open", ask)
        for command in COMMANDS:
            if command.startswith("pip "):
                continue
            if "--path" in command:
                save_a_path(folder / "runs" / "scene")
            assert cli.main(smaller(command)) == 0, command
        for block in blocks("python"):
            exec(block, {"__name__": "__main__"})
    return folder, pages


def save_a_path(run: Path) -> None:
    """What the viewer's Save button does."""
    pose = nerfcore.load(run).cameras[0][2].double()
    write_camera_path(CameraPath.through([Shot(pose, 40.0), Shot(pose, 30.0)], 0.5, fps=6, size=(48, 32)), run / "camera_path.json")


def test_process_and_check_leave_captures(followed):
    folder, _ = followed
    assert json.loads((folder / "scene/process.json").read_text())["registered"] == 10
    assert (folder / "runs/scene-check/check.html").is_file()
    for copy in ("scene", "runs/scene-check/scene", "for-colmap", "for-nerfstudio"):
        scene = nerfcore.load_scene(folder / copy)
        assert sum(len(split) for split in (scene.train, scene.test)) == 10, copy


def test_the_run_folder_is_whole(followed):
    folder, pages = followed
    run = folder / "runs/scene"
    files = {"checkpoint", "config.yaml", "metrics.json", "model.nerf", "report.html", "mesh.glb", "render"}
    assert files <= {path.name for path in run.iterdir()}
    assert json.loads((run / "metrics.json").read_text())["psnr"] > 15
    assert len(pages) == sum("view" in command.replace("--view", "view").split() for command in COMMANDS) == 3


def test_the_mesh_is_in_the_box_and_on_the_surface(followed):
    """In world coordinates: near the points that process found."""
    folder, _ = followed
    (command,) = (line for line in COMMANDS if "mesh.glb" in line)
    low, high = np.array(command.split("--box ")[1].split()[:6], float).reshape(2, 3)
    mesh, cell = trimesh.load(folder / "runs/scene/mesh.glb", force="mesh"), (high - low) / 23
    assert len(mesh.faces) > 100 and (mesh.bounds[0] >= low - cell).all() and (mesh.bounds[1] <= high + cell).all()
    points = nerfcore.load_scene(folder / "scene").points
    inside = points[((points.numpy() > low + 0.1) & (points.numpy() < high - 0.1)).all(1)].double()
    away = torch.cdist(inside, torch.from_numpy(np.asarray(mesh.vertices))).amin(1)
    assert len(inside) > 50 and away.median() < 0.05
    scaled = trimesh.load(folder / "metres.ply").extents / trimesh.load(folder / "mesh.ply").extents
    assert np.allclose(scaled, 0.30 / 0.42)


@pytest.mark.parametrize(("video", "frames"), [("runs/scene/render/video.mp4", 3), ("film/video.mp4", 3)])
def test_films_are_there(followed, video, frames):
    assert imageio_ffmpeg.count_frames_and_secs(str(followed[0] / video))[0] == frames
