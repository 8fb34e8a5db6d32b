"""Photographs that stay in their files: which they are, what is drawn of them, how the pool is renewed, and its file."""

import json
import os
import shutil
import threading
import time
import tracemalloc
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from nerfcore.cameras import Orthographic, camera_rays
from nerfcore.data import PixelSampler, load_scene
from nerfcore.data import pool as pool_module
from nerfcore.data.scene import Split, StoredSplit
from nerfcore.errors import OutputError, SceneError

PHOTOS, HEIGHT, WIDTH = 24, 30, 40


def write_photos(folder, names, size=(HEIGHT, WIDTH), ignored=None, alpha=False):
    """PNG files whose colours say photo, column and row; with a mask of ``ignored`` pixels each."""
    frames = []
    for i, name in enumerate(names):
        row, column = np.indices(size)
        layers = [np.full(size, i), column, row, *([255 - row] if alpha else [])]
        iio.imwrite(folder / name, np.stack(layers, axis=2).astype(np.uint8))
        pose = np.eye(4)
        pose[:3, 3] = i, 0, 4
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
        if ignored is not None:
            iio.imwrite(folder / f"mask_{name}", np.where(ignored, 0, 255).astype(np.uint8))
            frames[-1]["mask_path"] = f"mask_{name}"
    (folder / "transforms.json").write_text(json.dumps(dict(fl_x=35.0, k1=0.02, camera_model="OPENCV", frames=frames)))
    return folder


@pytest.fixture
def capture(tmp_path):
    return write_photos(tmp_path, [f"{i:02}.png" for i in range(PHOTOS)])


@pytest.fixture
def sampler_of():
    """Samplers of a scene that memory does not hold; closed at the end."""
    opened = []

    def make(folder, memory=0, **pool):
        sampler = PixelSampler(load_scene(folder, memory=memory).train, **pool)
        opened.append(sampler)
        return sampler

    yield make
    for sampler in opened:
        sampler.close()


def bytes_for(rows, photos=PHOTOS - 3, record=15):
    return record * rows * (photos + pool_module.AHEAD)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_memory_decides_by_the_size_that_headers_tell(capture):
    size = HEIGHT * WIDTH
    needed = PHOTOS * size * 3 + size * 12
    assert isinstance(load_scene(capture, memory=needed).train, Split)
    assert isinstance(load_scene(capture, memory=needed - 1).train, StoredSplit)
    (capture / "05.png").write_bytes((capture / "05.png").read_bytes()[:60])  # its header is whole
    stored = load_scene(capture, memory=0)
    with pytest.raises(SceneError, match=r"05\.png"):
        stored.train.image(4)
    with pytest.raises(SceneError, match=r"05\.png"):
        load_scene(capture)


@pytest.mark.parametrize("downscale", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_views_are_those_in_memory(tmp_path, downscale, alpha):
    ignored = np.zeros((HEIGHT, WIDTH), bool)
    ignored[:, :7] = True
    folder = write_photos(tmp_path, [f"{i}.png" for i in range(9)], ignored=ignored, alpha=alpha)
    if alpha:
        iio.imwrite(folder / "4.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    memory, stored = load_scene(folder, downscale), load_scene(folder, downscale, memory=0)
    assert stored.has_alpha == memory.has_alpha == alpha
    for ours, theirs in ((stored.train, memory.train), (stored.test, memory.test)):
        assert len(ours) == len(theirs) and torch.equal(ours.poses, theirs.poses)
        assert [f.camera for f in ours.frames] == [f.camera for f in theirs.frames]
        for i in range(len(ours)):
            assert torch.equal(ours.image(i), theirs.image(i)) and torch.equal(ours.ignored(i), theirs.ignored(i))


def test_drawn_pixels_are_those_of_the_photo_where_their_ray_falls(capture, sampler_of):
    sampler = sampler_of(capture, nbytes=bytes_for(200))
    frames = load_scene(capture, memory=0).train.frames
    rays, colour, image, *_ = sampler.sample(3000, generator())
    photo, column, row = (255 * colour).round().long().unbind(1)
    assert torch.equal(photo, torch.tensor([int(f.path.stem) for f in frames])[image])
    for i, frame in enumerate(frames):
        whole, of_photo = camera_rays(frame.camera, frame.pose), image == i
        pixel = (row * WIDTH + column)[of_photo]
        assert torch.allclose(whole.direction[pixel], rays.direction[of_photo], atol=1e-6)
        assert torch.equal(whole.origin[pixel], rays.origin[of_photo])
        assert torch.allclose(whole.z_scale[pixel], rays.z_scale[of_photo], atol=1e-6)


def test_draws_are_uniform_over_photos_and_pixels(capture, sampler_of):
    sampler = sampler_of(capture, nbytes=bytes_for(500), repeatable=True)
    num, counts = 60_000, torch.zeros(PHOTOS, HEIGHT, WIDTH)
    for _ in range(num // 500):
        _, colour, *_ = sampler.sample(500, generator())
        photo, column, row = (255 * colour).round().long().unbind(1)
        counts.index_put_((photo, row, column), torch.ones(500), accumulate=True)
    drawn = counts[counts.sum((1, 2)) > 0]
    assert len(drawn) == PHOTOS - 3

    def excess(observed):  # chi-square in standard deviations above its mean
        expected, free = observed.sum() / observed.numel(), observed.numel() - 1
        return (((observed - expected) ** 2).sum() / expected - free) / (2 * free) ** 0.5

    assert excess(drawn.sum((1, 2))) < 4  # 21 photos
    assert excess(drawn.sum(0)) < 4  # 1,200 places in a photo


def test_photos_of_other_sizes_and_with_masks_have_their_share(tmp_path, sampler_of):
    ignored = np.zeros((HEIGHT, WIDTH), bool)
    ignored[: HEIGHT // 2] = True
    folder = write_photos(tmp_path, [f"{i}.png" for i in range(10)], ignored=ignored)
    table = json.loads((folder / "transforms.json").read_text())
    for frame in table["frames"][3:]:
        del frame["mask_path"]
        frame["fl_x"] = 35.0  # a camera of its own
    (folder / "transforms.json").write_text(json.dumps(table))
    iio.imwrite(folder / "9.png", iio.imread(folder / "9.png")[:, ::4])
    sampler = sampler_of(folder, nbytes=bytes_for(1000, photos=8))
    _, colour, image, *_ = sampler.sample(40_000, generator())
    row = (255 * colour[:, 2]).round()
    assert row[image < 2].min() == HEIGHT // 2 and row[image == 2].min() == 0
    share = torch.bincount(image) / 40_000
    expected = torch.tensor([0.5, 0.5, 1, 1, 1, 1, 1, 0.25])
    assert torch.allclose(share, expected / expected.sum(), atol=0.008)


def test_rays_that_do_not_start_at_the_camera(capture):
    train = load_scene(capture, memory=0).train
    photos = train.photos
    for photo in photos:  # as cached properties keep it
        photo.__dict__["camera"] = replace(photo.camera, lens=Orthographic())
    frames = [replace(f, camera=p.camera) for f, p in zip(train.frames, photos, strict=True)]
    sampler = PixelSampler(StoredSplit(frames, photos), nbytes=1 << 16)
    rays, colour, image, *_ = sampler.sample(500, generator())
    _, column, row = (255 * colour).round().long().unbind(1)
    for i in range(0, 500, 50):
        frame = frames[image[i]]
        whole = camera_rays(frame.camera, frame.pose)
        assert torch.allclose(whole.origin[row[i] * WIDTH + column[i]], rays.origin[i], atol=1e-6)
    sampler.close()


def test_the_pool_is_renewed_with_the_pixels_that_are_drawn(capture, sampler_of):
    """As many new ones come in as are drawn, but for what is being decoded and the draw that is to come."""
    rows = 100
    sampler = sampler_of(capture, nbytes=bytes_for(rows), repeatable=True)
    pool, photos, colours = sampler.source, PHOTOS - 3, []
    for _ in range(3 * photos):
        colours.append({tuple(colour) for colour in sampler.sample(rows, generator())[1].tolist()})
    assert 0 <= 3 * photos - (pool.asked - len(pool.pending) - photos) <= pool_module.AHEAD + 1
    assert len(set.union(*colours)) > 2 * rows * photos  # of which the pool holds one half


def test_repeatable_pools_repeat_however_fast_photos_are_decoded(capture, sampler_of, monkeypatch):
    def colours(seed):
        sampler, random = sampler_of(capture, nbytes=bytes_for(64), repeatable=True), generator(seed)
        return torch.cat([sampler.sample(200, random)[1] for _ in range(40)])

    first, other = colours(0), colours(1)
    decode = pool_module.PixelPool._decode

    def slowly(self, photo, *rest):
        time.sleep(0.01 * (photo % 3))
        return decode(self, photo, *rest)

    monkeypatch.setattr(pool_module.PixelPool, "_decode", slowly)
    assert torch.equal(first, colours(0)) and not torch.equal(first, other)


def test_draws_do_not_wait_for_photos(capture, sampler_of, monkeypatch):
    monkeypatch.setattr(pool_module, "FIRST_PHOTOS", 5)
    sampler = sampler_of(capture, nbytes=bytes_for(50))
    blocked, decode = threading.Event(), pool_module.PixelPool._decode
    finished = []

    def late(self, photo, place, number):
        if number > 5:
            blocked.wait()
        finished.append(photo)
        return decode(self, photo, place, number)

    monkeypatch.setattr(pool_module.PixelPool, "_decode", late)
    random = generator()
    try:
        for _ in range(20):
            _, _, image, *_ = sampler.sample(100, random)
        assert set(image.tolist()) == set(finished[:5]) and len(sampler.source.pending) == pool_module.AHEAD
    finally:
        blocked.set()
    deadline = time.monotonic() + 20
    while (sampler.source.place < 0).any() and time.monotonic() < deadline:
        sampler.sample(1, random)
    assert len(set(sampler.sample(2000, random)[2].tolist())) == PHOTOS - 3


def test_the_file_is_bounded_and_leaves_nothing(capture, tmp_path):
    folder = tmp_path / "run"
    sampler = PixelSampler(load_scene(capture, memory=0).train, folder=folder, nbytes=100_000)
    sampler.sample(100, generator())
    file = sampler.source.file.fileno()
    assert 0 < sampler.pool_bytes <= 100_000 and os.fstat(file).st_size == sampler.pool_bytes
    assert os.fstat(file).st_blocks * 512 <= 100_000 + 4096
    assert folder.is_dir() and not list(folder.iterdir())  # also if the process dies now
    sampler.close()
    with pytest.raises(OSError):
        os.fstat(file)


def test_memory_stays_that_of_a_few_photos(tmp_path):
    folder, count = write_photos(tmp_path, [f"{i:02}.png" for i in range(40)], size=(300, 400)), 40 * 300 * 400 * 3
    tracemalloc.start()
    try:
        sampler = PixelSampler(load_scene(folder, memory=1 << 20).train, nbytes=1 << 20)
        for _ in range(30):
            sampler.sample(3000, generator())
        sampler.close()
        assert tracemalloc.get_traced_memory()[1] < sampler.nbytes + (1 << 20) < 0.95 * count + (1 << 20)
        tracemalloc.reset_peak()
        load_scene(folder)
        assert count < tracemalloc.get_traced_memory()[1] < count + pool_module.READERS * 24 * 300 * 400
    finally:
        tracemalloc.stop()


def test_a_disk_that_is_full(capture, tmp_path, sampler_of, monkeypatch):
    train = load_scene(capture, memory=0).train
    with pytest.raises(OutputError, match="no room for pixels of 21 photos"):
        PixelSampler(train, nbytes=100)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"0\.0 GiB free for a pool of 0\.0 GiB; .* smaller --pool"):
        PixelSampler(train, folder=tmp_path, nbytes=10_000)
    monkeypatch.undo()
    sampler = sampler_of(capture, nbytes=bytes_for(50))
    sampler.source.file.close()
    sampler.source.file = open("/dev/full", "wb")
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); free space"):
        sampler.sample(10, generator())
    sampler.source.file = open(os.devnull, "wb")


def test_a_broken_photo_is_named_when_its_turn_comes(capture, sampler_of):
    (capture / "05.png").write_bytes((capture / "05.png").read_bytes()[:60])
    sampler = sampler_of(capture, nbytes=bytes_for(50))
    with pytest.raises(SceneError, match=r"05\.png: cannot be read"):
        for _ in range(100):
            sampler.sample(100, generator())
