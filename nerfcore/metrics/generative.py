"""How close a set of pictures is to another, by their features: numbers [N, F] of every picture, N of one set and M of
the other need not be equal. All is computed in float64.

What a figure means depends on the network that the features are of; see :mod:`nerfcore.metrics.features`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared 2-Wasserstein distance of the Gaussians that have the sets' means and covariances (Heusel et al. 2017,
    equation 6): ``|m_a - m_b|² + tr(S_a + S_b - 2 (S_a S_b)^½)``, at least 0, in squared units of the features.

    a [N, F], b [M, F]. Sets drawn from the same distribution have a distance above 0 that falls as 1 / N: compare
    figures of equal N and M alone. Not differentiable.
    """
    a, b = _pair(a, b)
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.mT
    # S_a S_b has the eigenvalues of this symmetric product, so that no root of a general matrix is needed
    product = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0)
    spread = cov_a.trace() + cov_b.trace() - 2 * product.sqrt().sum()
    return max(((mean_a - mean_b).square().sum() + spread).item(), 0.0)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Squared maximum mean discrepancy with the kernel ``(x·y / F + 1)³``, unbiased (Bińkowski et al. 2018, section 4):
    0 on average for sets of the same distribution, whatever their sizes, and so below 0 at times.

    a [N, F], b [M, F], N and M at least 2. Not differentiable.
    """
    a, b = _pair(a, b)

    def within(x: Tensor) -> Tensor:
        kernel = _cubic(x, x)
        return (kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))

    return (within(a) + within(b) - 2 * _cubic(a, b).mean()).item()


def precision_recall(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Shares in [0, 1] of fake features that lie among real ones, and of real ones that lie among fake ones: no farther
    from one of them than its k-th neighbour in its own set (Kynkäänniemi et al. 2019, equation 1).

    real [N, F], fake [M, F], N and M above k. The first falls with bad samples, the second with missing kinds.
    """
    real, fake = _pair(real, fake)
    apart = _apart(real, fake)
    precision = (apart <= _radii(real, k)[:, None]).any(0)
    recall = (apart <= _radii(fake, k)[None]).any(1)
    return precision.double().mean().item(), recall.double().mean().item()


def coverage(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """Share in [0, 1] of real features with a fake one no farther than their k-th real neighbour (Naeem et al. 2020,
    section 3.2). Unlike recall it does not rise with a few fakes that lie far from everything.

    real [N, F], fake [M, F], N above k. Sets of one distribution and of equal size have ``1 - 2**-k`` about.
    """
    real, fake = _pair(real, fake)
    return (_apart(real, fake).amin(1) <= _radii(real, k)).double().mean().item()


def density(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """Of how many of the real features' neighbourhoods a fake one is part, divided by k (Naeem et al. 2020,
    section 3.1): 1 about for sets of one distribution, more where fakes crowd where the real ones do.

    real [N, F], fake [M, F], N above k. Unlike precision it hardly rises with a few real ones far from everything.
    """
    real, fake = _pair(real, fake)
    return (_apart(real, fake) <= _radii(real, k)[:, None]).double().sum(0).mean().item() / k


def bootstrap_error(
    statistic: Callable[..., float | Sequence[float]], *samples: Tensor, seed: int = 0, draws: int = 100
) -> float | list[float]:
    """Standard error of a statistic (Efron 1979): its standard deviation over sets drawn from the samples, with
    replacement and as large, each sample [N, …] by itself.

    statistic: takes the samples, gives a number or several; the result is a number or a list. A difference of two
    systems on the same real pictures is best given as one statistic of three samples. Only the spread of neighbour
    counts is of use under resampling: repeated features are neighbours at no distance, and their level moves.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        chosen = [torch.randint(len(s), (len(s),), generator=generator).to(s.device) for s in samples]
        found.append(statistic(*(s[index] for s, index in zip(samples, chosen, strict=True))))
    return torch.tensor(found, dtype=torch.float64).std(0).tolist()


def pixel_gaussian(pictures: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws from the Gaussian that has the pixels' mean and covariance, clipped to [-1, 1]: what a prior must beat.

    pictures [N, C, *spatial] in [-1, 1], N at least 2. Returns [count, C, *spatial].
    """
    if len(pictures) < 2:
        raise ValueError(f"a Gaussian needs at least 2 pictures, got {len(pictures)}")
    flat = pictures.flatten(1)
    mean = flat.mean(0)
    # sums of the centred pictures with normal weights have their covariance, which need not be made or decomposed
    weights = torch.randn(count, len(flat), generator=generator, device=generator.device).to(flat)
    drawn = mean + weights @ (flat - mean) / (len(flat) - 1) ** 0.5
    return drawn.clamp(-1, 1).view(count, *pictures.shape[1:])


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            f"features must be [N, F] and [M, F] of at least 2 pictures each, got {list(a.shape)} and {list(b.shape)}"
        )
    return a.detach().double(), b.detach().double()


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), x.mT.cov().reshape(x.shape[1], x.shape[1])


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.mT / x.shape[1] + 1) ** 3


def _radii(x: Tensor, k: int) -> Tensor:
    """[N]: how far the k-th neighbour of each is in its own set."""
    if not 0 < k < len(x):
        raise ValueError(f"k must be from 1 to {len(x) - 1} for {len(x)} features, got {k}")
    return _apart(x, x).fill_diagonal_(-1).kthvalue(k + 1, dim=1).values


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """[N, M]. Not by inner products, which leave equal features a little apart."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
