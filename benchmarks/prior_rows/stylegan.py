"""Styles: against DCGAN in the same minutes, and what truncation and mixing do.

Truncation is measured on the samples of Fashion-MNIST. Mixing is on single objects: of pairs of samples of which a
judge says different things, the share of which it says another thing when the coarse, or the fine, layers of one are
replaced by the other's. Coarse layers are those of the two coarsest levels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerfcore.data.examples import Examples
from nerfcore.metrics.features import features_of
from nerfcore.metrics.generative import bootstrap_error, precision_recall
from nerfcore.priors.scores import JUDGE_BOUND, Judge, draw_samples
from nerfcore.priors.stylegan import StyleGAN

from ._common import SAMPLES, all_pictures, better, fashion, feature_classifier, few, shapes, shapes_judge, show
from ._timed import scored, trained

MODULES = (
    "nerfcore.priors.blocks.adversarial", "nerfcore.priors.blocks.discriminator", "nerfcore.priors.blocks.style",
    "nerfcore.priors.dcgan", "nerfcore.data.shapes",
)  # fmt: skip
TRUNCATIONS = 1.0, 0.7, 0.4
COARSE_LAYERS = 3  # of levels of 4 and 8 places along a side
SHAPES = dict(widths=(16, 32, 64, 64))
TARGET = dict(
    distance="below DCGAN's in the same time", mixing="coarse layers change shapes more often, fine ones colours",
    truncation="precision rises and recall falls from each to the next",
)  # fmt: skip


def truncated(options, prior: StyleGAN, train: Examples, test: Examples) -> list[dict]:
    """Precision and recall of samples at each truncation, with standard errors of their change from the one before."""
    net = feature_classifier(options, train)
    real, found, before = features_of(all_pictures(test), net), [], None
    for prior.truncation in TRUNCATIONS:
        fake = features_of(draw_samples(prior, few(options, SAMPLES), options.seeds[0]), net)
        precision, recall = precision_recall(real, fake)
        row = dict(truncation=prior.truncation, precision=precision, recall=recall)
        if before is not None:

            def change(real: Tensor, before: Tensor, after: Tensor) -> list[float]:
                pairs = zip(precision_recall(real, after), precision_recall(real, before), strict=True)
                return [new - old for new, old in pairs]

            row["precision_error"], row["recall_error"] = bootstrap_error(change, real, before, fake, draws=30)
        found.append(row)
        before = fake
    prior.truncation = 1.0
    return found


def trades(rows: list[dict]) -> bool:
    """Is every change beyond two standard errors?"""
    return all(
        new["precision"] - old["precision"] > 2 * new["precision_error"]
        and old["recall"] - new["recall"] > 2 * new["recall_error"]
        for old, new in zip(rows, rows[1:], strict=False)
    )


def mixed(options, prior: StyleGAN, judge: Judge) -> tuple[dict, Tensor]:
    """By attribute: the share of pictures whose answer changes with coarse and with fine layers, of those where the
    answers of both parents differ; and a few pictures: parents, and what their mixing gives."""
    count, random = few(options, SAMPLES), torch.Generator().manual_seed(options.seeds[0])
    with torch.no_grad():
        one, other = (prior.painter.styles(count, random) for _ in range(2))

    def drawn(coarse: Tensor, fine: Tensor) -> Tensor:
        return prior.mix(coarse, fine, COARSE_LAYERS, torch.Generator().manual_seed(0))

    parents = {"one": drawn(one, one), "other": drawn(other, other)}
    pictures = parents | {"coarse": drawn(other, one), "fine": drawn(one, other)}
    found = {}
    for asked in ("shape", "colour"):
        said = {name: judge.answers(asked, x) for name, x in pictures.items()}
        differ = said["one"] != said["other"]
        found[asked] = {"pairs": int(differ.sum())}
        for name in ("coarse", "fine"):
            share = (said[name] != said["one"])[differ].double().mean().item()
            found[asked] |= {name: share, f"{name}_error": math.sqrt(share * (1 - share) / max(int(differ.sum()), 1))}
    return found, torch.stack([x[:16] for x in pictures.values()]).flatten(0, 1)


def oftener(row: dict, more: str, less: str) -> bool:
    """Beyond two standard errors of the difference?"""
    return row[more] - row[less] > 2 * math.hypot(row[f"{more}_error"], row[f"{less}_error"])


def measure(options) -> dict:
    """The row."""
    train, test = fashion(options)
    prior, samples, found = scored(options, "stylegan", train, test)
    _, _, plain = scored(options, "dcgan", train, test)
    truncation = truncated(options, prior, train, test)
    objects, _ = shapes(options, count=16000, alone=True)
    judge = shapes_judge(options)
    prior, spent = trained(options, "stylegan", objects, **SHAPES)
    mixing, pictures = mixed(options, prior, judge)
    show(options, "stylegan", samples[:128])
    show(options, "stylegan_mixing", pictures)
    void = min(judge.real[asked] for asked in mixing) < JUDGE_BOUND
    parts = dict(
        better=better(found, plain), trades=trades(truncation),
        mixes=not void and oftener(mixing["shape"], "coarse", "fine") and oftener(mixing["colour"], "fine", "coarse"),
    )  # fmt: skip
    return dict(
        holds=all(parts.values()), **parts, **found, dcgan=plain, truncation=truncation,
        mixing=mixing | dict(coarse_layers=COARSE_LAYERS, judge=judge.real, **spent),
    )  # fmt: skip
