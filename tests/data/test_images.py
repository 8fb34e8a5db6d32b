"""Reading pictures and box means."""

import imageio.v3 as iio
import numpy as np
import pytest

from nerfcore.data.images import box_mean, read_image
from nerfcore.errors import SceneError


def random_image(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_is_read_as_it_is(tmp_path, channels):
    image = random_image(5, 7, channels)
    iio.imwrite(tmp_path / "a.png", image)
    assert np.array_equal(read_image(tmp_path / "a.png"), image)


def test_grey_becomes_rgb_and_keeps_alpha(tmp_path):
    grey, grey_alpha = random_image(5, 7), random_image(5, 7, 2)
    iio.imwrite(tmp_path / "a.png", grey)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.stack([grey] * 3, axis=2))
    iio.imwrite(tmp_path / "b.png", grey_alpha)
    assert np.array_equal(read_image(tmp_path / "b.png"), grey_alpha[:, :, [0, 0, 0, 1]])


def test_sixteen_bits_become_eight(tmp_path):
    image = random_image(5, 7, dtype=np.uint16)
    iio.imwrite(tmp_path / "a.png", image)
    expected = np.round(image.astype(np.float64) / 65535 * 255)
    assert np.array_equal(read_image(tmp_path / "a.png")[:, :, 0], expected)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "header only"])
def test_a_corrupt_image_is_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(SceneError, match=r"bad\.png: cannot be read as an image; replace it"):
        read_image(tmp_path / "bad.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_image_is_named(tmp_path, suffix):
    file = tmp_path / f"cut.{suffix}"
    iio.imwrite(file, random_image(64, 64, 3))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(SceneError, match="cannot be read as an image"):
        read_image(file)


def test_an_unusable_kind_of_image_is_named(tmp_path):
    iio.imwrite(tmp_path / "float.tiff", np.zeros((4, 4), np.float32))
    with pytest.raises(SceneError, match="holds float32 values"):
        read_image(tmp_path / "float.tiff")


def box_mean_by_loops(image, factor):
    """Straight alpha in [0, 1] by the definition, one block at a time, in float64."""
    image = image.astype(np.float64) / 255
    height, width = image.shape[0] // factor, image.shape[1] // factor
    out = np.zeros((height, width, image.shape[2]))
    for i in range(height):
        for j in range(width):
            block = image[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor].reshape(-1, image.shape[2])
            alpha = block[:, 3:] if image.shape[2] == 4 else np.ones((len(block), 1))
            out[i, j] = block.mean(0)
            out[i, j, :3] = (block[:, :3] * alpha).sum(0) / max(alpha.sum(), 1e-12)
    return out


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("factor", [2, 3, 7])
def test_box_mean_is_the_mean_by_definition(channels, factor):
    image = random_image(23, 29, channels)
    image[:8, :8, 3:] = 0  # whole blocks without any coverage
    result = box_mean(image, factor)
    assert result.dtype == np.uint16
    np.testing.assert_allclose(result / 65535, box_mean_by_loops(image, factor), rtol=0, atol=0.5001 / 65535)


def test_colour_under_zero_alpha_does_not_bleed():
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0] = (200, 100, 50, 255)
    image[1, 1] = (0, 255, 0, 0)
    assert box_mean(image, 2)[0, 0].tolist() == [200 * 257, 100 * 257, 50 * 257, round(65535 / 4)]


def test_the_largest_sums_do_not_overflow():
    assert (box_mean(np.full((300, 300, 4), 255, np.uint8), 300) == 65535).all()
