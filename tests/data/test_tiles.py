"""Pictures in tiles: what is drawn from them is what the picture has there."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from nerfcore.data import tiles
from nerfcore.data.tiles import TiledPicture, TilePool, tile_picture, write_tiles
from nerfcore.errors import SceneError


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def strips(image, rows):
    return [image[i : i + rows] for i in range(0, len(image), rows)]


SIZES = [(8, 8), (128, 128), (129, 128), (300, 517), (1, 400)]


@pytest.mark.parametrize("height, width", SIZES)
@pytest.mark.parametrize("rows", [1, 37, 1000])
def test_tiles_cover_the_picture_and_have_its_pixels(tmp_path, height, width, rows):
    image = picture(height, width)
    write_tiles(tmp_path, width, height, strips(image, rows))
    tiled, padded = TiledPicture.open(tmp_path), np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    covered = np.zeros((height, width), int)
    for number in range(tiled.num_tiles):
        top, left = tiled.origin(number)
        bottom, right = top + tiled.tile_height, left + tiled.tile_width
        covered[top:bottom, left:right] += 1
        assert np.array_equal(tiled.read(number), padded[top : bottom + 2, left : right + 2])
        assert np.array_equal(tiled.pixels(number), image[top:bottom, left:right])
    assert covered.min() == 1 and (covered > 1).mean() < 0.02 and max(tiled.tile_width, tiled.tile_height) <= 128
    assert tiled.nbytes == image.nbytes


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif"])
@pytest.mark.parametrize("kind", ["rgb", "grey", "rgba", "16 bits"])
def test_every_file_becomes_the_same_tiles(tmp_path, suffix, kind):
    image = picture(300, 200)
    stored = {
        "rgb": image, "grey": image[:, :, 0], "16 bits": image[:, :, 0].astype(np.uint16) * 257,
        "rgba": np.concatenate((image, np.full_like(image[:, :, :1], 51)), 2),
    }[kind]
    source = tmp_path / f"picture{suffix}"
    np.save(source, stored) if suffix == ".npy" else iio.imwrite(source, stored, plugin="pillow")
    grey = image[:, :, :1].repeat(3, axis=2)
    expected = {
        "rgb": image, "grey": grey, "16 bits": grey, "rgba": np.rint(image * np.float32(0.2) + np.float32(204)),
    }[kind]
    tiled = tile_picture(source, tmp_path / "tiles")
    for number in range(tiled.num_tiles):
        top, left = tiled.origin(number)
        found = tiled.pixels(number).astype(int)
        assert np.abs(found - expected[top : top + tiled.tile_height, left : left + tiled.tile_width]).max() <= (kind == "rgba")


@pytest.mark.parametrize("form", [dict(rowsperstrip=64), dict(tile=(64, 32)), dict(compression="zlib", rowsperstrip=50)])
def test_big_tiffs_are_read_by_parts(tmp_path, form):
    tifffile = pytest.importorskip("tifffile", reason="the test writes TIFF with tifffile")
    image = picture(300, 200)
    try:
        tifffile.imwrite(tmp_path / "picture.tif", image, photometric="rgb", **form)
    except (ImportError, ValueError) as error:
        pytest.skip(f"tifffile cannot write this: {error}")
    (height, width), parts = tiles._strips(tmp_path / "picture.tif")
    parts = list(parts)
    assert (height, width) == (300, 200) and len(parts) > 1 and np.array_equal(np.concatenate(parts), image)


def test_what_is_no_picture_is_refused_in_words(tmp_path):
    with pytest.raises(SceneError, match="there is no picture"):
        tile_picture(tmp_path / "absent.png", tmp_path / "tiles")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(SceneError, match="cannot be read as an image"):
        tile_picture(tmp_path / "text.png", tmp_path / "tiles")
    np.save(tmp_path / "floats.npy", np.zeros((4, 4, 3)))
    with pytest.raises(SceneError, match="holds float64 values"):
        tile_picture(tmp_path / "floats.npy", tmp_path / "tiles")
    with pytest.raises(SceneError, match="has 3 rows, not the 4"):
        write_tiles(tmp_path / "tiles", 4, 4, [picture(3, 4)])
    with pytest.raises(SceneError, match="is not a folder of tiles"):
        TiledPicture.open(tmp_path / "tiles")
    write_tiles(tmp_path / "tiles", 4, 4, [picture(4, 4)])
    with open(tmp_path / "tiles" / "tiles.bin", "ab") as file:
        file.write(b"more")
    with pytest.raises(SceneError, match="has not the size of its tiles"):
        TiledPicture.open(tmp_path / "tiles")


# --- drawing


def pool_of(tmp_path, image, nbytes=1 << 30, seed=0):
    height, width, _ = image.shape
    return TilePool(write_tiles(tmp_path, width, height, [image]), nbytes, torch.Generator().manual_seed(seed))


def test_centres_have_the_colours_of_their_pixels_and_none_comes_twice_in_a_round(tmp_path):
    image = picture(100, 260)
    pool, seen = pool_of(tmp_path, image), []
    for _ in range(10):
        x, colour = pool.draw(2600, 0.0)
        pixel = x * torch.tensor([260, 100]) - 0.5
        column, row = pixel.round().long().unbind(1)
        assert (pixel - pixel.round()).abs().max() < 1e-4
        assert (colour - torch.from_numpy(image)[row, column] / 255).abs().max() < 1e-6
        seen.append(row * 260 + column)
    times = torch.cat(seen).bincount(minlength=26000)
    assert (times > 0).float().mean() > 0.98 and times.max() <= 2  # two columns belong to two tiles
    pool.close()


def test_colours_between_centres_are_interpolated(tmp_path):
    image = picture(200, 150)
    pool = pool_of(tmp_path, image)
    x, colour = pool.draw(5000, 1.0)
    whole = torch.from_numpy(image).movedim(2, 0)[None].double() / 255
    expected = grid_sample(whole, 2 * x[None, None].double() - 1, padding_mode="border", align_corners=False)
    assert (colour - expected[0, :, 0].T).abs().max() < 1e-4  # positions are float32
    assert x.min() >= 0 and x.max() <= 1 and (x * torch.tensor([150, 200]) % 1).std() == pytest.approx(12**-0.5, rel=0.1)
    pool.close()


def test_a_small_pool_comes_around_to_every_tile(tmp_path):
    image = picture(400, 400)
    pool = pool_of(tmp_path, image, nbytes=5 * 102**2 * 3)
    assert pool.count == 5 and pool.picture.num_tiles == 16
    met = torch.zeros(16, dtype=torch.long)
    for _ in range(5 + 4 * 16):
        x, colour = pool.draw(500, 0.0)
        column, row = (x * 400 - 0.5).round().long().unbind(1)
        assert (colour - torch.from_numpy(image)[row, column] / 255).abs().max() < 1e-6
        met += (row // 100 * 4 + column // 100).bincount(minlength=16)
    assert met.min() > 0 and met.max() < 3 * met.min()
    pool.close()


def test_the_same_seed_draws_the_same(tmp_path):
    image = picture(300, 300)
    pools = [pool_of(tmp_path / str(seed), image, 5 * 102**2 * 3, seed) for seed in (0, 0, 1)]
    for _ in range(10):
        first, again, other = (pool.draw(64, 0.5)[0] for pool in pools)
        assert torch.equal(first, again) and not torch.equal(first, other)
    for pool in pools:
        pool.close()


def test_few_points_are_spread_over_tiles(tmp_path):
    pool = pool_of(tmp_path, picture(600, 600))
    x, _ = pool.draw(3, 1.0)
    assert len(x) == 3
    pool.close()
