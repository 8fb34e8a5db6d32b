"""What rows of priors share: their data, the network whose features are compared, judges, and pictures of samples."""

from __future__ import annotations

from dataclasses import replace

import imageio.v3 as iio
import torch
from torch import Tensor

from nerfcore.data.examples import Examples, load_examples, picture_grid
from nerfcore.data.shapes import shapes_examples
from nerfcore.files import write_file
from nerfcore.metrics.features import Classifier
from nerfcore.priors.scores import FEATURE_STEPS, JUDGE_SEED, Judge, feature_net, score_samples, train_judge

SAMPLES = 2000  # against as many held-out pictures, in 64-dimensional features
JUDGE_PICTURES, JUDGE_STEPS = 12000, 1500
FASHION_JUDGE_STEPS = 600
GROUPS = {  # of garments that shoulders, legs or feet wear: a coat is often taken for a pullover, but not for a boot
    "top": ("t-shirt", "pullover", "dress", "coat", "shirt"),
    "trouser": ("trouser",),
    "shoe": ("sandal", "sneaker", "ankle boot"),
    "bag": ("bag",),
}


def fashion(options, size: int = 28) -> tuple[Examples, Examples]:
    """The 8,000 training and 2,000 test pictures of Fashion-MNIST, one channel."""
    return tuple(load_examples(options.folder / "fashion_mnist", split, size) for split in ("train", "test"))


def at_scale(options) -> dict:
    """Settings of a run at the scale of the machine."""
    return dict(precision="bfloat16", compiled=True) if options.scale == "gpu" else {}


def sides(options, size: int) -> int:
    """Pixels along each side of shapes that have ``size`` at the scale of a CPU."""
    return 2 * size if options.scale == "gpu" else size


def shapes(options, size: int = 32, count: int = 8000, alone: bool = False) -> tuple[Examples, Examples]:
    """Captioned shapes, ``count`` to train on and 2,000 to test on; a share of them in a trial. alone: those scenes of
    so many that have one object, about half of them."""
    numbers = dict(train=count, test=SAMPLES * (1 + alone))
    side = sides(options, size)
    found = (load_examples("shapes", split, side, few(options, number)) for split, number in numbers.items())
    return tuple(only_alone(examples) if alone else examples for examples in found)


def only_alone(examples: Examples) -> Examples:
    """The scenes with one object."""
    return examples.subset((examples.attributes["arrangement"] == 0).nonzero().squeeze(1))


def few(options, number: int, least: int = 200) -> int:
    """Of pictures or steps: all of them, or in a trial that share."""
    return min(max(round(options.share * number), least), number)


def all_pictures(examples: Examples) -> Tensor:
    """[N, C, *spatial] in [-1, 1]."""
    return examples.take(torch.arange(len(examples)))[0]


def feature_classifier(options, train: Examples) -> Classifier:
    """The classifier of the training split whose features are compared, kept from row to row."""
    return feature_net(train, steps=few(options, FEATURE_STEPS, 20))


def scores(options, samples: Tensor, train: Examples, test: Examples) -> dict:
    """The figures of :func:`nerfcore.priors.scores.score_samples` in the features of that classifier. samples [N, C, h,
    w] in [-1, 1]; N should be ``SAMPLES``."""
    net = feature_classifier(options, train)
    return dict(features="own classifier, 64", **score_samples(samples, all_pictures(train), all_pictures(test), net))


def better(less: dict, more: dict, figure: str = "distance") -> bool:
    """Is a figure of one lower than that of another, beyond two standard errors of their difference?"""
    error = (less[f"{figure}_error"] ** 2 + more[f"{figure}_error"] ** 2) ** 0.5
    return more[figure] - less[figure] > 2 * error


def shapes_judge(options, size: int = 32) -> Judge:
    """A judge of "shape", "colour", "size" and "material" of single objects, from scenes of a seed of their own: no
    other row draws them, and it is void below 95 % for a question, which its ``real`` tells."""
    count = few(options, JUDGE_PICTURES, 1000)
    examples = only_alone(shapes_examples("train", sides(options, size), count, seed=JUDGE_SEED))
    asked = {name: values for name, values in examples.attributes.items() if name != "arrangement"}
    return train_judge(replace(examples, attributes=asked), few(options, JUDGE_STEPS, 50))


def fashion_judge(options, size: int = 28) -> Judge:
    """A judge of "label", one of four ``GROUPS``: in the ten classes none that 10,000 pictures teach is right in 95 %.
    It is trained on four fifths of the test split and tested on the rest, so that no prior has seen its pictures."""
    _, test = fashion(options, size)
    examples = replace(test, labels=grouped(test.labels, test.label_names))
    return train_judge(examples, few(options, FASHION_JUDGE_STEPS, 50))


def grouped(labels: Tensor, names: tuple[str, ...]) -> Tensor:
    """Labels of garments as indices into ``GROUPS``."""
    table = [next(i for i, group in enumerate(GROUPS.values()) if name in group) for name in names]
    return torch.tensor(table)[labels]


def show(options, row: str, pictures: Tensor, columns: int = 16) -> None:
    """Writes a grid of pictures [N, 1 or 3, h, w] in [-1, 1] to ROW.png where the options name a folder for it."""
    if options.pictures is not None:
        grid = picture_grid(pictures, columns)
        write_file(options.pictures / f"{row}.png", iio.imwrite("<bytes>", grid.numpy(), extension=".png"))
