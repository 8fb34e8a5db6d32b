"""Encodings by sines and cosines against their formulas, and the properties that they are used for."""

import math

import pytest
import torch
from torch.func import jacrev, vmap

from nerfcore.blocks.encoding import (
    basic_frequencies,
    fourier_encoding,
    frequency_encoding,
    gaussian_frequencies,
    position_encoding,
    position_turn,
    positional_frequencies,
)


def points(n=20, dims=3, dtype=torch.float64):
    return 2 * torch.rand(n, dims, generator=torch.Generator().manual_seed(0), dtype=dtype) - 1


# --- Mildenhall et al. 2020


def test_frequency_encoding_is_equation_4():
    x, octaves = points(), 10
    expected = [
        [f(2.0**level * math.pi * v) for v in row for level in range(octaves) for f in (math.sin, math.cos)]
        for row in x.tolist()
    ]
    assert (frequency_encoding(x, octaves) - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-12


def test_the_input_goes_first():
    x = points(dtype=torch.float32)
    encoded = frequency_encoding(x, 4, with_input=True)
    assert encoded.shape == (20, 3 + 3 * 2 * 4) and encoded.dtype == torch.float32
    assert torch.equal(encoded[:, :3], x) and torch.equal(encoded[:, 3:], frequency_encoding(x, 4))


def test_float32_is_as_good_as_its_angles():
    x = points(500)
    error = (frequency_encoding(x.float(), 10).double() - frequency_encoding(x.float().double(), 10)).abs().max()
    assert error < 2 * 2**9 * math.pi * torch.finfo(torch.float32).eps


def test_frequency_encoding_has_derivatives():
    x = points(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: frequency_encoding(x, 3, with_input=True), x)
    assert torch.autograd.gradgradcheck(lambda x: frequency_encoding(x, 3), x)


@pytest.mark.parametrize("x, octaves, what", [(torch.zeros(3), 4, "N, D"), (torch.zeros(2, 3), -1, "octaves")])
def test_frequency_encoding_refuses(x, octaves, what):
    with pytest.raises(ValueError, match=what):
        frequency_encoding(x, octaves)


# --- Tancik et al. 2020


FREQUENCIES = {
    "basic": basic_frequencies(2),
    "positional": positional_frequencies(2, 8, 50.0),
    "gaussian": gaussian_frequencies(2, 64, 10.0, torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("name", FREQUENCIES)
def test_the_dot_product_of_features_is_a_sum_of_cosines_of_the_offset(name):
    b = FREQUENCIES[name].double()
    x, y = points(20, 2), points(25, 2)[5:]
    found = (fourier_encoding(x, b) * fourier_encoding(y, b)).sum(1)
    assert (found - torch.cos(2 * math.pi * (x - y) @ b).sum(1)).abs().max() < 1e-10
    assert (fourier_encoding(x, b).square().sum(1) - b.shape[1]).abs().max() < 1e-10


def test_basic_frequencies_wrap_the_unit_around_a_circle_along_each_axis():
    encoded = fourier_encoding(torch.tensor([[0.25, 0.5]], dtype=torch.float64), basic_frequencies(2).double())
    assert (encoded - torch.tensor([0.0, -1.0, 1.0, 0.0], dtype=torch.float64)).abs().max() < 1e-15


def test_octaves_are_the_positional_frequencies_of_base_two():
    """γ of both papers, in other units and another order."""
    x, b = points(20, 2), positional_frequencies(2, 6, 2.0**6).double()
    cosines, sines = fourier_encoding(x / 2, b).view(20, 2, 2, 6).unbind(1)
    error = (torch.stack((sines, cosines), -1).flatten(1) - frequency_encoding(x, 6)).abs().max()
    assert error < 1e-4  # roots of 64 in float32


def test_gaussian_frequencies_have_the_bandwidth():
    b = gaussian_frequencies(2, 20_000, 3.0, torch.Generator().manual_seed(0))
    assert b.shape == (2, 20_000) and b.std().item() == pytest.approx(3.0, rel=0.02) and abs(b.mean().item()) < 0.05
    assert torch.equal(b, gaussian_frequencies(2, 20_000, 3.0, torch.Generator().manual_seed(0)))


def test_fourier_encoding_refuses_frequencies_of_other_dimensions():
    with pytest.raises(ValueError, match=r"\[N, D\] and \[D, M\]"):
        fourier_encoding(torch.zeros(4, 3), basic_frequencies(2))


# --- Vaswani et al. 2017


def test_position_encoding_is_section_3_5():
    width = 6
    expected = [
        [f(place / 10000 ** (2 * i / width)) for i in range(width // 2) for f in (math.sin, math.cos)]
        for place in range(50)
    ]
    found = position_encoding(torch.arange(50, dtype=torch.float64), width)
    assert (found - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-12


@pytest.mark.parametrize("shift", [1, 7, -3, 0.5])
def test_a_shift_is_a_rotation(shift):
    """One matrix, made of 2 x 2 rotations, takes the encoding of every place to that of the place ``shift`` further."""
    place, width = torch.arange(0, 500, dtype=torch.float64), 64
    turns = [[[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]] for a in (shift * position_turn(width)).tolist()]
    rotation = torch.block_diag(*(torch.tensor(turn, dtype=torch.float64) for turn in turns))
    assert (rotation @ rotation.T - torch.eye(width)).abs().max() < 1e-14
    moved = position_encoding(place, width) @ rotation.T
    assert (moved - position_encoding(place + shift, width)).abs().max() < 1e-12


def test_the_dot_product_depends_on_the_offset_alone_and_falls():
    encoded = position_encoding(torch.arange(400, dtype=torch.float64), 128)
    gram = encoded @ encoded.T
    for offset in (0, 1, 17, 200):
        along = gram.diagonal(offset)
        assert (along - along[0]).abs().max() < 1e-11
    assert gram[0, 0].item() == pytest.approx(64)
    quickest = 2 * math.pi  # places a turn, of the first pair
    fine = position_encoding(torch.arange(0, quickest / 2, 0.1, dtype=torch.float64), 128)
    assert (fine @ fine[0]).diff().max() < 0
    per_turn = gram[0, : int(4 * quickest)].unfold(0, 6, 6).mean(1)  # over further turns on average
    assert (per_turn.diff() < 0).all()


def test_position_encoding_is_bounded():
    encoded = position_encoding(torch.cat((torch.arange(1000), torch.tensor([10**6]))), 32)
    assert encoded.dtype == torch.float32 and encoded.abs().max() <= 1
    assert (encoded.square().sum(1) - 16).abs().max() < 1e-4


def test_position_encoding_has_derivatives():
    place = torch.tensor([0.0, 1.5, 40.0], dtype=torch.float64)
    derivative = vmap(jacrev(lambda p: position_encoding(p[None], 8)[0]))(place)
    turn = position_turn(8)
    expected = torch.stack((turn * torch.cos(place[:, None] * turn), -turn * torch.sin(place[:, None] * turn)), -1)
    assert (derivative - expected.flatten(1)).abs().max() < 1e-14


@pytest.mark.parametrize("position, width", [(torch.arange(3), 5), (torch.arange(3), 0), (torch.zeros(2, 2), 4)])
def test_position_encoding_refuses(position, width):
    with pytest.raises(ValueError, match="width|position"):
        position_encoding(position, width)
