"""The viewer without a browser: where it listens, what it shows, and the parts of its editors that need no page."""

import builtins
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch

import nerfcore
from nerfcore.applications.view import LiveView, model_content, scene_content
from nerfcore.cameras import look_at, orbit
from nerfcore.cli.main import main
from nerfcore.data import load_scene
from nerfcore.data.camera_path import Shot
from nerfcore.errors import NerfcoreError
from nerfcore.viewer.box_editor import EDGES, box_arguments, corners
from nerfcore.viewer.content import CAMERAS_AWAY, Content
from nerfcore.viewer.path_editor import Keyframes
from nerfcore.viewer.pictures import View, paint
from tests.analytic import Ball, model_of
from tests.viewer.ball import ball, photo


def test_keyframes_come_behind_the_chosen_one():
    a, b, c, d = (Shot(torch.eye(3, 4), float(fov)) for fov in (10, 20, 30, 40))
    keyframes = Keyframes()
    for shot in (a, b, c):
        keyframes.add(shot)
    keyframes.chosen = 0
    keyframes.add(d)
    assert keyframes.shots == [a, d, b, c] and keyframes.chosen == 1
    keyframes.replace(c)
    keyframes.remove()
    assert keyframes.shots == [a, b, c] and keyframes.chosen == 0
    for left in (2, 1, 0):
        keyframes.remove()
        assert len(keyframes.shots) == left and keyframes.chosen == min(0, left - 1)
    keyframes.load([a, b])
    assert keyframes.shots == [a, b] and keyframes.chosen == 1


def test_a_box_has_twelve_edges_along_the_axes():
    box = np.array([[0.0, -1.0, 2.0], [1.0, 1.0, 5.0]])
    ends = corners(box)[EDGES]
    lengths = np.abs(ends[:, 1] - ends[:, 0])
    assert len(EDGES) == 12 and ((lengths > 0).sum(1) == 1).all() and lengths.sum() == 4 * (1 + 2 + 3)
    assert box_arguments(box) == "--box 0 -1 2 1 1 5"


def test_without_viser_the_command_says_what_to_install(monkeypatch, capsys):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "viser":
            raise ImportError("No module named 'viser'")
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "nerfcore.viewer.server", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    for command in (["view"], ["train", "--view"]):
        assert main(command) == 1
        assert 'pip install "nerfcore[viewer]"' in capsys.readouterr().err


def test_a_taken_port_gives_way_to_the_next():
    pytest.importorskip("viser")
    from nerfcore.viewer.server import free_port

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        assert taken < free_port("127.0.0.1", taken) < taken + 20
    with pytest.raises(NerfcoreError, match="cannot listen at 203.0.113.7, port 8080"):
        free_port("203.0.113.7", 8080)
    with pytest.raises(NerfcoreError, match="is no address"):
        free_port("no such host", 8080)
    with pytest.raises(NerfcoreError, match="port 99999 cannot be"):
        free_port("127.0.0.1", 99999)


def test_what_is_up_and_how_large_the_world_is_shown():
    box = 1000 * torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    ring = [photo(pose, name=str(i)) for i, pose in enumerate(orbit((0, 0, 0), 4000.0, 0.4, 6))]
    content = Content("ring", ring, box, Path())
    assert content.up.tolist() == [0, 0, 1] and content.unit * 4000 == pytest.approx(CAMERAS_AWAY)
    assert Content("y", [photo(look_at((0, 0, 5.0), (0, 0, 0), (0, -1.0, 0)))], box, Path()).up.tolist() == [0, -1, 0]
    tilted = torch.tensor([0.0, -0.7, 0.7])
    assert np.allclose(Content("t", [photo(look_at((5.0, 0, 0), (0, 0, 0), tilted))], box, Path()).up, tilted, atol=0.02)
    assert Content("empty", [], box, Path()).unit > 0


@pytest.mark.parametrize("name", ["../mesh.glb", "/tmp/mesh.glb", "", "a\\b.glb", ".."])
def test_browsers_write_nowhere_but_in_the_folder(name):
    content = Content("ball", [], torch.tensor([[-1.0] * 3, [1.0] * 3]), Path("runs"))
    assert content.file("mesh.glb") == Path("runs/mesh.glb")
    with pytest.raises(NerfcoreError, match="not the name of a file"):
        content.file(name)


def test_content_of_a_scene_and_of_a_model():
    scene = load_scene(downscale=8)
    content = scene_content(scene, Path("out"))
    assert len(content.photos) == sum(len(split) for split in (scene.train, scene.val, scene.test) if split)
    assert [photo.held_out for photo in content.photos].index(True) == len(scene.train)
    assert torch.equal(content.photos[0].image(), scene.train.image(0)) and content.render is None
    assert content.thumbnails[content.photos[0].name].shape[2] == 3

    model = model_of(Ball())
    moved = scene.train.frames[2].name, scene.train.frames[2].camera, torch.eye(3, 4)
    model.cameras = [moved]
    corrected = model_content(model, scene, Path("out"))
    assert torch.equal(corrected.photos[2].pose, torch.eye(3, 4)) and torch.equal(corrected.photos[1].pose, scene.train.poses[1])
    assert [photo.image for photo in model_content(model, None, Path("out")).photos] == [None]


def test_in_front_of_a_mesh_no_picture_of_the_model_is_rendered():
    view = View(look_at((4.0, 0, 1), (0, 0, 0)), 50.0, 8, 6, "mesh", "black")
    picture = paint(view, None, [])
    assert picture.rgb.shape == (6, 8, 3) and not picture.rgb.any() and np.isinf(picture.z_depth).all()


def test_server_answers_on_loopback_only_and_ends():
    pytest.importorskip("viser")
    from nerfcore.viewer.server import Viewer

    content = Content("ball", [photo(look_at((4.0, 0, 1), (0, 0, 0)))], torch.tensor([[-1.0] * 3, [1.0] * 3]), Path(), render=ball)
    viewer = Viewer(content, port=18080)
    assert b"<html" in urlopen(viewer.url, timeout=30).read()
    bound = subprocess.run(["ss", "-ltn"], capture_output=True, text=True).stdout if Path("/usr/bin/ss").exists() else ""
    assert not bound or f"127.0.0.1:{viewer.port}" in bound and f"0.0.0.0:{viewer.port}" not in bound
    viewer.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", viewer.port)) != 0


def test_a_training_that_is_watched_is_the_same_to_the_bit(tmp_path):
    """`LiveView` in a real training, of a scene small enough, beside a thread that looks all the time."""
    told, pictures, opened = [], [], []

    class Window:
        """In place of a server."""

        def __init__(self, content, turns):
            opened.append(content)
            threading.Thread(target=self.look, args=(content, turns), daemon=True).start()

        def look(self, content, turns):
            pose = content.photos[0].pose
            while not told or told[-1][0] != "evaluating":
                with turns.looking():
                    pictures.append(paint(View(pose, 50.0, 8, 8), content.render, content.photos))

        def show_training(self, text, fraction):
            told.append((text, fraction))

    live = LiveView(tmp_path, Window)
    settings = dict(steps=12, downscale=16, preset="fast", min_rays=64, samples_per_step=2048)
    scene = nerfcore.load_scene(downscale=16)
    watched = nerfcore.train(scene, None, before_step=live, on_progress=lambda p: live.show(p, p.stage), **settings)
    alone = nerfcore.train(scene, None, **settings)
    assert len(opened) == 1 and len(pictures) > 1 and told[-1] == ("evaluating", 1.0)
    for name, value in alone.model.field.state_dict().items():
        assert torch.equal(value, watched.model.field.state_dict()[name]), name
