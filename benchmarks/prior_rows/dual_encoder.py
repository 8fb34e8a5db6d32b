"""Pictures and captions: which of 64 captions is a held-out picture's own, and which of 64 pictures a caption's?

The 2,000 test scenes are shuffled into groups of 64 whose captions all differ; within a group the one of largest
similarity is retrieved. Captions may still fit several pictures, where they leave out a size or a material.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.data.examples import Examples
from nerfcore.priors.dual_encoder import DualEncoder
from nerfcore.priors.training import train_prior

from ._common import at_scale, few, shapes, show

MODULES = ("nerfcore.priors.text", "nerfcore.data.shapes")
STEPS, GROUP, TARGET_R1 = 1000, 64, 0.9  # of training for each seed: a few of the 20 minutes that it may take
TARGET = {"picture_to_caption": TARGET_R1, "caption_to_picture": TARGET_R1}
AT_ONCE = 256  # pictures that are embedded


def groups(examples: Examples) -> Tensor:
    """Places [G, 64] of examples whose captions differ, each caption used once; drawn by a fixed seed."""
    places = torch.tensor(list({caption: i for i, caption in enumerate(examples.captions)}.values()))
    places = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(0))]
    return places[: len(places) // GROUP * GROUP].view(-1, GROUP)


@torch.no_grad()
def group_similarities(prior: DualEncoder, examples: Examples, places: Tensor) -> Tensor:
    """[G, 64, 64]: of each group's pictures with its captions."""
    pictures, _, captions = examples.take(places.flatten())
    pictures = torch.cat([prior.embed_pictures(part.to(prior.device)) for part in pictures.split(AT_ONCE)])
    return pictures.view(*places.shape, -1) @ prior.embed_captions(captions).view(*places.shape, -1).mT


def measure(options) -> dict:
    """The row."""
    train, test = shapes(options)
    places, runs, right = groups(test), [], torch.arange(GROUP)
    for seed in options.seeds:
        run = train_prior("dual_encoder", train, steps=few(options, STEPS, 20), seed=seed, **at_scale(options))
        similarity = group_similarities(run.prior, test, places).cpu()
        found = dict(picture_to_caption=similarity.argmax(2), caption_to_picture=similarity.argmax(1))
        scores = {way: (answer == right).float().mean().item() for way, answer in found.items()}
        runs.append(dict(seed=seed, **scores, steps=run.steps, train_seconds=run.seconds))
    first, best = places[0], found["caption_to_picture"][0]
    show(options, "dual_encoder", test.take(first[best])[0])
    worst = {way: min(run[way] for run in runs) for way in TARGET}
    return dict(
        holds=all(worst[way] >= TARGET[way] for way in TARGET),
        **worst,
        group=GROUP,
        pictures=places.numel(),
        standard_error=(TARGET_R1 * (1 - TARGET_R1) / places.numel()) ** 0.5,
        steps=few(options, STEPS, 20),
        runs=runs,
        captions=[test.captions[i] for i in first.tolist()],
    )
