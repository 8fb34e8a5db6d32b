"""A transformer over codes: what it knows beyond pairs of codes, and whether large pictures have seams.

Bits are on the test split of Fashion-MNIST. Large pictures are of crops of photographs of a fern, which look alike
wherever they are cut: twice as high and wide as the crops, so that the first and the last windows that a code is drawn
in end in the middle. A seam would be a greater step there than between other neighbouring codes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.data.examples import Examples, load_examples
from nerfcore.priors.transformer import Transformer

from ._common import all_pictures, fashion, few, show
from ._timed import scored, trained

MODULES = "nerfcore.priors.vqgan", "nerfcore.priors.blocks.sequence", "nerfcore.priors.blocks.condition"
BITS_RATIO, LOGITS_ERROR = 0.8, 1e-3
TARGET = dict(
    bits_ratio=BITS_RATIO, logits_error=LOGITS_ERROR,
    seam="the step in the middle of a large picture not above others, beyond two standard errors",
)  # fmt: skip
MINUTES, LARGE_MINUTES = 18.0, 8.0  # of the 30 that are asked for
CODES = 128
SIDE, CROPS, LARGE = 32, 8000, 200  # pixels; pictures
PHOTOGRAPH = 192  # pixels along a side, as they are cropped


def bigram_bits(train: Tensor, test: Tensor, codes: int) -> float:
    """Per code: of test sequences [N, T] by how often each code followed each in those to train on, plus one; the first
    code by how often it came first."""
    pairs = torch.bincount((train[:, :-1] * codes + train[:, 1:]).flatten(), minlength=codes**2).view(codes, codes) + 1
    first = torch.bincount(train[:, 0], minlength=codes) + 1
    each = (pairs / pairs.sum(1, keepdim=True)).log2()[test[:, :-1], test[:, 1:]].sum(1)
    return -((each + (first / first.sum()).log2()[test[:, 0]]).mean() / test.shape[1]).item()


@torch.no_grad()
def codes_of(prior: Transformer, examples: Examples) -> Tensor:
    """[N, T]."""
    return torch.cat([prior.coder.encode(part) for part in all_pictures(examples).split(250)]).flatten(1)


@torch.no_grad()
def logits_apart(prior: Transformer, index: Tensor) -> float:
    """The greatest difference of logits of codes [N, T] one by one, and all at once."""
    whole, step = prior.sequence(index[:, :-1], **prior.said(len(index))), prior.following(len(index))
    one_by_one = [step(index[:, max(at - 1, 0) : at]) for at in range(index.shape[1])]
    return (torch.stack(one_by_one, 1) - whole).abs().max().item()


def crops(options) -> Examples:
    """Pictures of ``SIDE`` pixels out of photographs of a fern, one channel, from places by a seed."""
    photographs = all_pictures(load_examples(options.folder / "fern" / "images_8", "train", PHOTOGRAPH)).mean(1, True)
    random, cut = torch.Generator().manual_seed(options.seeds[0]), []
    for _ in range(few(options, CROPS)):
        which, *corner = (int(torch.randint(high, (), generator=random)) for high in (
            len(photographs), PHOTOGRAPH - SIDE + 1, PHOTOGRAPH - SIDE + 1
        ))  # fmt: skip
        cut.append(photographs[which, :, corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE])
    return Examples(torch.stack(cut), name="crops of a fern")


def seams(pictures: Tensor, cell: int) -> dict:
    """Steps across the middle of pictures [N, C, h, w], and the mean of those across other borders of codes of ``cell``
    pixels: the mean ratio over pictures and both axes, and its standard error."""
    found = {}
    for axis, x in (("rows", pictures), ("columns", pictures.mT)):
        steps = (x[:, :, 1:] - x[:, :, :-1]).abs().mean((1, 3))[:, cell - 1 :: cell]  # [N, borders]
        middle = steps.shape[1] // 2
        others = torch.cat((steps[:, :middle], steps[:, middle + 1 :]), 1).mean(1)
        ratio = steps[:, middle].mean() / others.mean()
        error = (steps[:, middle] - ratio * others).std() / others.mean() / math.sqrt(len(x))
        found |= {axis: ratio.item(), f"{axis}_error": error.item()}
    return found


def measure(options) -> dict:
    """The row."""
    train, test = fashion(options)
    prior, samples, found = scored(options, "transformer", train, test, MINUTES, coder=dict(prior="vqgan", codes=CODES))
    told, asked = codes_of(prior, train), codes_of(prior, test)
    bits = torch.cat([prior.bits(part) for part in all_pictures(test).split(250)]).mean().item()
    pairs, apart = bigram_bits(told, asked, CODES), logits_apart(prior, asked[:100])
    small, spent = trained(
        options, "transformer", crops(options), LARGE_MINUTES, coder=dict(prior="vqvae", codes=CODES)
    )
    places = tuple(2 * side for side in small.coder.places)
    large = small.sample_large(few(options, LARGE, 20), places, torch.Generator().manual_seed(options.seeds[0]))
    seam = seams(large, SIDE // small.coder.places[0])
    seamless = all(seam[axis] - 1 < 2 * seam[f"{axis}_error"] for axis in ("rows", "columns"))
    show(options, "transformer", samples[:128])
    show(options, "transformer_large", large[:16], 4)
    parts = dict(knows=bits / pairs <= BITS_RATIO, cached=apart < LOGITS_ERROR, seamless=seamless)
    own = dict(bits=bits, bigram_bits=pairs, bits_ratio=bits / pairs, logits_error=apart)
    return dict(holds=all(parts.values()), **parts, **own, **found, large=seam | dict(places=places, **spent))
