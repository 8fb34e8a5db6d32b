"""Distances of sets of features against closed forms, slow sums and the properties that their papers give them."""

import math

import pytest
import torch
from scipy.linalg import sqrtm

from nerfcore.metrics.generative import (
    bootstrap_error,
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    pixel_gaussian,
    precision_recall,
)


def normal(count, dims, seed=0):
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- Fréchet distance


def test_frechet_distance_of_a_moved_and_stretched_set_in_closed_form():
    """The optimal map between Gaussians is symmetric and positive, and so is this one: what it moves is the distance."""
    a = normal(500, 6) @ normal(6, 6, 1)
    stretch = normal(6, 6, 2)
    stretch = stretch @ stretch.mT / 6 + 0.1 * torch.eye(6)
    shift = normal(1, 6, 3)
    less = torch.eye(6, dtype=torch.float64) - stretch
    moved = (a.mean(0) @ less - shift).square().sum() + (less @ a.mT.cov() @ less).trace()
    assert frechet_distance(a, a @ stretch + shift) == pytest.approx(moved.item(), rel=1e-9)


def test_frechet_distance_is_that_of_the_root_of_a_general_matrix():
    a, b = normal(300, 5) @ normal(5, 5, 1), normal(400, 5, 4) @ normal(5, 5, 2) + 1
    root = sqrtm((a.mT.cov() @ b.mT.cov()).numpy())
    expected = (a.mean(0) - b.mean(0)).square().sum() + a.mT.cov().trace() + b.mT.cov().trace() - 2 * root.real.trace()
    assert frechet_distance(a.float(), b.float()) == pytest.approx(expected.item(), rel=1e-5)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_frechet_distance_of_one_number_each():
    """(m - n)² + (s - t)²"""
    a, b = normal(50, 1), 3 * normal(60, 1, 1) + 2
    expected = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)


def test_fewer_features_than_numbers_are_no_trouble():
    a = normal(10, 40)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, a + 1) == pytest.approx(40, rel=1e-6)


# --- kernel distance


def test_kernel_distance_is_its_double_sum():
    a, b = normal(13, 4), normal(9, 4, 1) + 0.5

    def kernel(x, y):
        return (float(x @ y) / 4 + 1) ** 3

    within = [
        sum(kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j) / (len(s) * (len(s) - 1))
        for s in (a, b)
    ]
    across = sum(kernel(x, y) for x in a for y in b) / (len(a) * len(b))
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * across, rel=1e-10)


def test_kernel_distance_is_zero_on_average_and_frechet_distance_is_not():
    pairs = [(normal(20, 3, 2 * seed), normal(20, 3, 2 * seed + 1)) for seed in range(400)]
    kernel = torch.tensor([kernel_distance(*pair) for pair in pairs])
    frechet = torch.tensor([frechet_distance(*pair) for pair in pairs])
    assert abs(kernel.mean()) < 4 * kernel.std() / 20
    assert frechet.mean() > 4 * frechet.std() / 20


# --- neighbours


def test_precision_recall_density_and_coverage_of_four_points_by_hand():
    """k = 1: real ones at 0, 1, 10, 11 reach 1 each; fakes at 0.5, 0.9 and 5 reach 0.4, 0.4 and 4.1."""
    real, fake = torch.tensor([[0.0], [1.0], [10.0], [11.0]]), torch.tensor([[0.5], [0.9], [5.0]])
    precision, recall = precision_recall(real, fake, k=1)
    assert precision == pytest.approx(2 / 3)  # 5 is by itself
    assert recall == pytest.approx(1 / 4)  # 1 is 0.1 from 0.9; 0 is 0.5 from 0.5, too far, and 10 is 5 from 5
    assert density(real, fake, k=1) == pytest.approx((2 + 2 + 0) / 3)
    assert coverage(real, fake, k=1) == pytest.approx(2 / 4)


def test_a_missing_kind_costs_recall_and_coverage_a_bad_kind_costs_precision_and_density():
    left, right, away = normal(200, 2), normal(200, 2, 1) + 20, normal(200, 2, 2) - 50
    both, one = torch.cat((left, right)), normal(400, 2, 3)
    precision, recall = precision_recall(both, one)
    assert precision > 0.9 and recall == pytest.approx(0.5, abs=0.05) and coverage(both, one) <= 0.5
    bad = torch.cat((normal(200, 2, 4), away))
    precision, recall = precision_recall(left, bad)
    assert precision == pytest.approx(0.5, abs=0.05) and recall > 0.9 and density(left, bad) < 0.6


def test_coverage_and_density_of_one_distribution_are_as_the_paper_has_them():
    found = [(coverage(a, b), density(a, b)) for a, b in ((normal(400, 3, s), normal(400, 3, s + 50)) for s in range(5))]
    covered, dense = torch.tensor(found).mean(0).tolist()
    assert covered == pytest.approx(1 - 2**-5, abs=0.02) and dense == pytest.approx(1, abs=0.1)


def test_equal_sets_are_within_each_other():
    a = normal(100, 64).float()
    assert precision_recall(a, a) == (1, 1) and coverage(a, a) == 1
    repeated = a[:1].expand(50, -1)
    assert precision_recall(repeated, a) == (1 / 100, 1)  # the 49 neighbours of a point are where it is


# --- doubt, and the ceiling


def test_bootstrap_error_of_a_mean_is_its_standard_error():
    x = normal(400, 1)
    expected = x.std().item() / 20
    assert bootstrap_error(lambda s: s.mean().item(), x, draws=400) == pytest.approx(expected, rel=0.15)
    both = bootstrap_error(lambda s, t: ((s.mean() - t.mean()).item(), t.mean().item()), x, 2 * x, draws=400)
    assert both == pytest.approx([math.sqrt(5) * expected, 2 * expected], rel=0.15)
    assert bootstrap_error(lambda s: s.mean().item(), x, seed=3) == bootstrap_error(lambda s: s.mean().item(), x, seed=3)


def test_pixel_gaussian_has_the_moments_of_the_pictures():
    pictures = (0.03 * normal(300, 8) @ normal(8, 8, 1)).view(300, 2, 2, 2).float() + 0.1
    drawn = pixel_gaussian(pictures, 40000, torch.Generator().manual_seed(0))
    assert drawn.shape == (40000, 2, 2, 2)
    truth, found = pictures.flatten(1), drawn.flatten(1)
    assert (truth.mean(0) - found.mean(0)).abs().max() < 0.01
    assert (truth.mT.cov() - found.mT.cov()).abs().max() < 0.05 * truth.mT.cov().abs().max()
    bright = pixel_gaussian(pictures + 1, 10, torch.Generator().manual_seed(0))
    assert bright.max() == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: frechet_distance(torch.zeros(5, 3), torch.zeros(5, 4)), r"\[N, F\]"),
        (lambda: kernel_distance(torch.zeros(1, 3), torch.zeros(5, 3)), "at least 2"),
        (lambda: coverage(torch.zeros(5, 3), torch.zeros(5, 3)), "k must be from 1 to 4"),
        (lambda: pixel_gaussian(torch.zeros(1, 1, 4), 3, torch.Generator()), "at least 2"),
    ],
)
def test_errors_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
