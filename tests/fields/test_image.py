"""The image field: its sizes, its derivatives, and that a saved one is the same."""

from __future__ import annotations

import pytest
import torch

from nerfcore.fields.image import ImageField, half_bytes, image_shape
from nerfcore.renderer.picture import PictureModel

SMALL = dict(num_levels=4, log2_table=10, finest=64, hidden=16)


def field(seed=0, **settings):
    made = ImageField(**SMALL | settings)
    made.initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        made.table.mul_(1e3)  # so that the picture is not flat
    return made


def test_every_parameter_gets_a_gradient(backend, device):
    made = field(backend=backend).to(device)
    x = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0)).to(device)
    color = made.color(x)
    assert color.shape == (3000, 3) and color.isfinite().all()
    for gradient in torch.autograd.grad(color.square().sum(), list(made.parameters())):
        assert gradient.isfinite().all() and gradient.any()


def test_kernels_and_reference_agree(kernel_backend):
    x = torch.rand(500, 2, generator=torch.Generator().manual_seed(1))
    colors = [field(backend=name).color(x) for name in ("reference", kernel_backend)]
    assert (colors[0] - colors[1]).abs().max() < 1e-5


@pytest.mark.parametrize("width, height, share", [(1024, 1024, 0.25), (1024, 1024, 1 / 12), (4000, 3000, 0.25)])
def test_the_shape_fits_the_bytes_and_uses_most_of_them(width, height, share):
    allowed = share * 3 * width * height
    shape = image_shape(width, height, allowed)
    assert 0.6 * allowed < half_bytes(shape) <= allowed
    made = ImageField(**shape)
    assert half_bytes(shape) == 2 * sum(p.numel() for p in made.parameters())
    assert made.levels.resolution[-1] == max(width, height) // 2


def test_shapes_end_at_both_sides():
    assert image_shape(64, 64, 10)["log2_table"] == 6  # whoever asks sees that it is too large
    assert image_shape(100_000, 100_000, 1e12)["log2_table"] == 20


def model(footprint=1):
    return PictureModel(field(), 60, 40, footprint, dict(picture="made up"))


def test_a_saved_picture_is_the_same_to_the_bit():
    saved = PictureModel.from_state(*model().state())
    again = PictureModel.from_state(*saved.state())
    assert torch.equal(saved.render(), again.render())
    assert (saved.width, saved.height, saved.header) == (60, 40, dict(picture="made up"))
    assert all(value.dtype == torch.float16 for value in saved.state()[0].values())
    assert (saved.render() - model().render()).abs().max() < 0.02  # half precision


def test_pixels_are_the_colours_at_their_centres():
    picture = model()
    rendered = picture.render()
    assert rendered.shape == (40, 60, 3) and rendered.min() >= 0 and rendered.max() <= 1
    points = torch.tensor([[0.5 / 60, 0.5 / 40], [59.5 / 60, 0.5 / 40], [7.5 / 60, 33.5 / 40]])
    expected = picture.field.color(points).clamp(0, 1)
    assert (rendered[[0, 0, 33], [0, 59, 7]] - expected).abs().max() < 1e-5


def test_a_box_is_that_part_of_the_picture():
    picture = model()
    whole, part = picture.render(120, 80), picture.render(60, 20, box=(0.5, 0.25, 1.0, 0.5))
    assert (whole[20:40, 60:] - part).abs().max() < 1e-4
    assert picture.render(box=(0.5, 0.25, 1.0, 0.5)).shape == (10, 30, 3)


def test_a_reduced_picture_is_made_of_means():
    picture = model()
    reduced = picture.render(30, 20)
    assert (picture.render().view(20, 2, 30, 2, 3).mean((1, 3)) - reduced).abs().max() < 1e-4


def test_pixels_that_are_areas_are_means_and_enlarged_ones_their_parts():
    picture, points = model(footprint=2), model()
    enlarged = picture.render(120, 80)
    assert (enlarged - points.render(120, 80)).abs().max() < 1e-4
    assert (picture.render() - enlarged.view(40, 2, 60, 2, 3).mean((1, 3))).abs().max() < 1e-4


def test_an_empty_box_is_refused():
    with pytest.raises(ValueError, match="left < right"):
        model().render(box=(0.5, 0.0, 0.5, 1.0))
