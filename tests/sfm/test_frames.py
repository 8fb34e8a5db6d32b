"""Which frames of a video are taken."""

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from nerfcore.errors import SceneError
from nerfcore.sfm.frames import sharpest, sharpness, write_sharpest_frames


def noise(sigma: float, seed: int = 0) -> np.ndarray:
    picture = np.random.default_rng(seed).uniform(0, 255, (48, 64, 3))
    return (gaussian_filter(picture, (sigma, sigma, 0)) if sigma else picture).astype(np.uint8)


def test_sharpness_is_the_variance_of_the_laplacian():
    picture = noise(1)
    green = picture[:, :, 1].astype(np.float64)
    padded = np.pad(green, 1, mode="symmetric")
    laplacian = padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2] - 4 * green
    assert sharpness(picture) == pytest.approx(laplacian.var(), rel=1e-5)
    assert sharpness(noise(0)) > sharpness(noise(1)) > sharpness(noise(3)) and sharpness(np.zeros((8, 8, 3), np.uint8)) == 0


def test_each_stretch_gives_its_sharpest():
    clear = {2, 3, 9, 11}
    frames = [noise(0 if i in clear else 2, seed=i) for i in range(12)]
    numbers = [number for number, _ in sharpest(frames, 12, 4)]
    expected = [max(range(s, s + 3), key=lambda i: sharpness(frames[i])) + 1 for s in range(0, 12, 3)]
    assert numbers == expected and numbers[0] == 3 and numbers[1] == 4 and numbers[3] in (10, 12)
    assert [n for n, _ in sharpest(frames, 12, 12)] == list(range(1, 13))
    assert len(list(sharpest(frames, 6, 3))) == 3 and len(list(sharpest(frames[:4], 12, 4))) == 2  # a length that was wrong


def test_frames_of_a_video(tmp_path):
    """The sharp frames of one in which three of four are blurred; the folder appears when all are there."""
    video, seen = tmp_path / "walk.mp4", []
    writer = imageio_ffmpeg.write_frames(str(video), (64, 48), fps=12, codec="libx264", macro_block_size=2, quality=9)
    writer.send(None)
    for i in range(24):
        writer.send(noise(0 if i % 4 == 1 else 2, seed=i).tobytes())
    writer.close()
    write_sharpest_frames(video, tmp_path / "images", 6, lambda done, total: seen.append((done, total)))
    assert [path.name for path in sorted((tmp_path / "images").iterdir())] == [f"{i:06d}.jpg" for i in range(2, 25, 4)]
    assert seen[-1] == (24, 24) and iio.imread(tmp_path / "images" / "000002.jpg").shape == (48, 64, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "walk.mp4"]


def test_what_is_no_video_is_said(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(SceneError, match="a.mp4: cannot be read as a video; convert it to MP4"):
        write_sharpest_frames(tmp_path / "a.mp4", tmp_path / "images")
    assert not (tmp_path / "images").exists()
