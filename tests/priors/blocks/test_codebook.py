"""The codebook against loops, k-means and the gradient that its definition gives."""

import pytest
import torch

from nerfcore.priors.blocks.codebook import KEPT, Codebook


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed)).double()


def made(*arguments, **options):
    torch.manual_seed(0)
    return Codebook(*arguments, **options).double()


@pytest.mark.parametrize("spatial", [(5,), (3, 4), (2, 3, 2)])
def test_the_nearest_is_chosen_everywhere(spatial):
    book, x = made(7, 3), randn(2, 3, *spatial)
    found = book(x)
    flat = x.movedim(1, -1).reshape(-1, 3)
    nearest = [min(range(7), key=lambda k: (v - book.vectors[k]).square().sum().item()) for v in flat]
    assert found.index.flatten().tolist() == nearest and found.index.shape == (2, *spatial)
    assert torch.allclose(found.vectors.movedim(1, -1).reshape(-1, 3), book.vectors[torch.tensor(nearest)])
    assert torch.equal(book.lookup(found.index), book.vectors[found.index].movedim(-1, 1))


def test_distances_to_all_codes_and_mixtures_of_them():
    book, x, weights = made(7, 3), randn(2, 3, 4, 5), randn(2, 7, 4, 5, seed=1).softmax(1)
    distances = torch.cdist(x.movedim(1, -1).reshape(-1, 3), book.vectors).square()
    assert torch.allclose(book.distances(x).movedim(1, -1).reshape(-1, 7), distances)
    assert torch.equal(book.distances(x).argmin(1), book(x).index)
    chosen = torch.zeros(2, 7, 4, 5).double().scatter(1, book(x).index[:, None], 1.0)
    assert torch.allclose(book.mixed(chosen), book.lookup(book(x).index))
    halves = book.mixed(0.5 * chosen + 0.5 * weights) * 2 - book.mixed(chosen)
    assert torch.allclose(halves, book.mixed(weights)) and torch.allclose(book.mixed(weights)[0, :, 1, 2], weights[0, :, 1, 2] @ book.vectors)


def test_the_gradient_goes_straight_through():
    """As if the choice were the identity, whatever comes after; and commitment pulls to the chosen code."""
    book, x = made(5, 2), randn(4, 2, 3).requires_grad_()
    found = book(x)
    (slope,) = torch.autograd.grad((found.vectors**3).sum(), x, retain_graph=True)
    assert torch.allclose(slope, 3 * found.vectors.detach() ** 2)
    (pull,) = torch.autograd.grad(found.loss, x)
    assert torch.allclose(pull, 0.25 * 2 * (x - found.vectors).detach() / x.numel())


def test_a_codebook_that_learns_by_gradient_moves_to_what_chose_it():
    book, x = made(5, 2, learn="gradient"), randn(4, 2, 3)
    found = book(x)
    (slope,) = torch.autograd.grad(found.loss, book.vectors)
    for k in range(5):
        chose = x.movedim(1, -1)[found.index == k]
        expected = 2 * (len(chose) * book.vectors[k].detach() - chose.sum(0)) / x.numel()
        assert torch.allclose(slope[k], expected)
    assert not made(5, 2).vectors.requires_grad


def test_moving_means_in_closed_form():
    book, x = made(2, 1), torch.tensor([[[-1.0, -3.0, 4.0, 4.0, 4.0, 4.0]]]).double()
    with torch.no_grad():
        book.vectors.copy_(torch.tensor([[-2.5], [5.0]]))
        book.usage.fill_(0.5)
        book.sums.copy_(book.vectors * 0.5)
    book(x, generator())
    usage = KEPT * 0.5 + (1 - KEPT) * torch.tensor([2 / 6, 4 / 6]).double()
    sums = KEPT * 0.5 * torch.tensor([-2.5, 5.0]) + (1 - KEPT) * torch.tensor([-4 / 6, 16 / 6])
    assert torch.allclose(book.usage, usage)
    assert torch.allclose(book.vectors[:, 0], sums.double() / usage)


def test_it_finds_the_means_of_clusters():
    """Which k-means of the same points would."""
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]]).double()
    book, draw = made(4, 2), generator(1)
    for step in range(600):
        kind = torch.randint(4, (64,), generator=draw)
        points = centres[kind] + 0.1 * torch.randn(64, 2, generator=draw)
        book(points[:, :, None], draw if step else generator(3))
    assert torch.cdist(centres, book.vectors).amin(1).max() < 0.1 and (book.usage - 0.25).abs().max() < 0.05


def test_codes_that_nothing_chooses_start_anew():
    book, x = made(3, 2), randn(16, 2, 4) + 100
    assert book(x).index.unique().numel() == 1  # all but the nearest are dead
    book(x, generator())
    assert torch.cdist(book.vectors, x.movedim(1, -1).reshape(-1, 2)).amin(1).max() < 5
    book.usage[1] = 0
    before = book.vectors.clone()
    book(x, generator(1))
    moved = (book.vectors - before).norm(dim=1)
    assert moved[1] > 3 * moved[[0, 2]].max()


def test_counting_alone_moves_no_vectors():
    book = made(4, 2, learn="gradient")
    before = book.vectors.clone()
    book.count(torch.tensor([[0, 1], [1, 1]]))
    assert torch.equal(before, book.vectors)
    assert torch.allclose(book.usage, (1 - KEPT) * torch.tensor([0.25, 0.75, 0, 0]).double())
    with pytest.raises(ValueError, match="ema or gradient"):
        made(4, 2, learn="sgd")
