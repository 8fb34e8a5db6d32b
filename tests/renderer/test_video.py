"""Videos and stills of a model that paints its camera's position."""

import json
import math

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
import torch

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import Equirectangular, Fisheye, Orthographic, Perspective
from nerfcore.cameras.poses import look_at
from nerfcore.cameras.trajectories import looked_at
from nerfcore.data.camera_path import CameraPath, Shot
from nerfcore.errors import OutputError
from nerfcore.renderer.video import path_trajectory, to_uint16, trajectory, video_camera, write_stills, write_video

CAMERA = Camera(width=51, height=40, fl_x=60.0, fl_y=60.0, cx=25.5, cy=20.0, lens=Perspective(k1=0.1))


class Painter:
    """Renders one colour a pose, and a distance that grows from left to right."""

    def __init__(self):
        eyes = enumerate([(3, 0, 1), (0, 3, 1), (-3, 0, 1)])
        self.cameras = [(f"train/{i}.png", CAMERA, look_at(eye, (0, 0, 0))) for i, eye in eyes]

    def render_image(self, camera, pose, background="white", normals=False):
        shape = camera.height, camera.width
        distance = torch.linspace(0, 4, camera.width).expand(shape)
        image = {"rgb": (pose[:, 3] / 8 + 0.5).expand(*shape, 3), "opacity": torch.ones(shape)}
        image |= {"distance": distance, "z_depth": 0.5 * distance}
        return image | ({"normal": torch.tensor([0.0, 0.0, 1.0]).expand(*shape, 3)} if normals else {})


def test_video_has_the_frames_and_the_size(tmp_path):
    seen = []
    path = tmp_path / "new" / "a.mp4"
    write_video(Painter(), path, trajectory(Painter(), num_frames=9), fps=12, on_frame=lambda *at: seen.append(at))
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    assert facts["codec"] == "h264" and facts["pix_fmt"].startswith("yuv420p")
    assert facts["size"] == (50, 40) and facts["fps"] == 12
    frames = [np.frombuffer(frame, np.uint8).reshape(40, 50, 3) for frame in reader]
    assert len(frames) == 9 and seen == [(i, 9) for i in range(1, 10)]
    assert np.ptp([frame.mean() for frame in frames]) > 10  # the camera moves


def test_video_of_a_chosen_size(tmp_path):
    path = write_video(Painter(), tmp_path / "a.mp4", trajectory(Painter(), num_frames=2, size=(33, 65)))
    assert next(imageio_ffmpeg.read_frames(str(path)))["size"] == (32, 64)


def test_video_camera_never_stretches():
    wide = video_camera(CAMERA, (204, 80))
    assert wide.fl_x == wide.fl_y and wide.lens == Perspective() and (wide.cx, wide.cy) == (102, 40)
    large = Camera(width=4000, height=1000, fl_x=1.0, fl_y=1.0, cx=2000.0, cy=500.0)
    assert (video_camera(large).width, video_camera(large).height) == (800, 200)


def test_video_camera_of_another_lens_keeps_the_size_of_what_is_in_the_middle():
    """A pixel of the orthographic picture is as wide as that of the perspective one at the given distance, both ways."""
    ortho = video_camera(CAMERA, lens="orthographic", distance=3.0)
    plain = video_camera(CAMERA)
    three = torch.tensor(3.0)
    assert ortho.lens == Orthographic() and ortho.footprint(three).item() == pytest.approx(plain.footprint(three).item())
    again = video_camera(ortho, lens="perspective", distance=3.0)
    assert again.lens == Perspective() and again.fl_x == pytest.approx(plain.fl_x)
    assert video_camera(CAMERA, lens="fisheye").lens == Fisheye()
    around = video_camera(CAMERA, lens="equirectangular")
    assert (around.width, around.height) == (50, 24) and around == Camera.panorama(50, 24)
    assert video_camera(around).lens == Equirectangular()


TWO_FRAMES = trajectory(Painter(), num_frames=2)


def test_trajectories_suit_the_cameras():
    """Cameras in a ring are turned about; for cameras on a wall a spiral looks at what stands there, 2 units away."""
    ring, wall = Painter(), Painter()
    wall.cameras = [(str(x), CAMERA, look_at((x, 0, 0), (x, 5, 0))) for x in (-1, 0, 1)]
    eyes = torch.stack([pose[:, 3] for _, pose in trajectory(ring, num_frames=40)])
    assert torch.allclose(eyes[:, :2].norm(dim=-1), torch.full((40,), 3.0), atol=0.2)  # three cameras make no circle
    poses = torch.stack([pose for _, pose in trajectory(wall, num_frames=40)])
    assert looked_at(poses)[1].item() == pytest.approx(1.0, abs=0.05)  # half of the distances that the painter paints
    assert torch.equal(poses, torch.stack([pose for _, pose in trajectory(wall, "spiral", 40)]))
    along = torch.stack([pose for _, pose in trajectory(wall, "cameras", num_frames=5)])
    assert torch.allclose(along[:, 0, 3], torch.linspace(-1, 1, 5), atol=1e-5)


def test_a_path_is_flown_as_it_is():
    keyframes = [Shot(pose.double(), fov) for (_, _, pose), fov in zip(Painter().cameras, (40, 50, 60), strict=True)]
    path = CameraPath.through(keyframes, seconds=1.0, fps=6, size=(65, 48))
    for (camera, pose), expected, shot in zip(path_trajectory(Painter(), path), path.views(), path.shots, strict=True):
        assert (camera.width, camera.height) == (64, 48) and torch.equal(pose, expected[1])
        assert 24 / camera.fl_y == pytest.approx(math.tan(math.radians(shot.fov_degrees / 2)), rel=0.02)
    wide = path_trajectory(Painter(), path, size=(32, 20), lens="orthographic")
    assert wide[0][0].lens == Orthographic() and (wide[0][0].width, wide[0][0].height) == (32, 20)


def test_video_errors_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_video(Painter(), tmp_path / "file" / "a.mp4", TWO_FRAMES)
    (tmp_path / "b.mp4").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_video(Painter(), tmp_path / "b.mp4", TWO_FRAMES)
    with pytest.raises(OutputError, match=r"must end in \.mp4"):
        write_video(Painter(), tmp_path / "a.avi", TWO_FRAMES)
    with pytest.raises(ValueError, match="at least 1 frame"):
        write_video(Painter(), tmp_path / "a.mp4", [])
    with pytest.raises(ValueError, match="at least 1 frame"):
        trajectory(Painter(), num_frames=0)
    with pytest.raises(OutputError, match="cannot be written"):
        write_stills(Painter(), tmp_path / "file")


def test_stills_hold_distances_in_world_units(tmp_path):
    paths = write_stills(Painter(), tmp_path, count=2)
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir()) and len(paths) == 9
    scales = json.loads((tmp_path / "stills.json").read_text())["scale"]
    for layer, factor in (("distance", 1.0), ("z_depth", 0.5)):
        pixels = iio.imread(tmp_path / f"02_2_{layer}.png")
        assert pixels.dtype == np.uint16 and pixels.shape == (40, 51)
        assert np.allclose(pixels * scales[f"02_2_{layer}.png"], factor * np.linspace(0, 4, 51), atol=1e-4)
    assert iio.imread(tmp_path / "01_0_rgb.png").shape == (40, 51, 3)
    assert iio.imread(tmp_path / "01_0_normal.png")[0, 0].tolist() == [128, 128, 255]


def test_empty_distances_stay_zero():
    pixels, scale = to_uint16(torch.zeros(2, 3))
    assert not pixels.any() and scale > 0
