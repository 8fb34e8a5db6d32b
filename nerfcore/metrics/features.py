"""Small classifiers, trained here on a training split: their features measure priors, others judge them.

A distance of features is named after the network that they are of. Ours are not Inception's, so that no figure of them
is one of FID; Inception's serve where its weights are on disk.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, relu

from nerfcore.errors import NerfcoreError

LAYERS = {
    1: (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d),
    2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
    3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d),
}
CHANNELS = (32, 64, 64, 64)  # of the blocks, each of which halves the sides
SMALLEST = 8  # side that is not halved further
SMALLEST_SIZE = 4  # of pictures: two blocks leave one pixel
INCEPTION = "inception_v3_google-0cc3c7bd.pth"  # the name that torchvision gives the file
MOST_AT_ONCE = 250  # pictures in one pass without a gradient


class Classifier(nn.Module):
    """Blocks of a convolution, batch normalisation, ReLU and a halving of the sides; then ``width`` features, each of
    mean 0 and variance 1 over what it is trained on, of which the classes are a linear function after a ReLU.

    channels, size: of the pictures, [B, channels, size, …] with 1, 2 or 3 spatial dimensions (``dims``). Values in
    [-1, 1]. num_classes: one number, or those of several questions that one picture answers.
    Differentiable in: pictures (first order), parameters while it is being trained.
    """

    def __init__(self, channels: int, size: int, num_classes: int | Sequence[int], width: int = 64, dims: int = 2):
        super().__init__()
        if size < SMALLEST_SIZE:
            raise ValueError(f"a classifier needs pictures of at least {SMALLEST_SIZE} pixels a side, got {size}")
        self.classes = (num_classes,) if isinstance(num_classes, int) else tuple(num_classes)
        convolution, norm, pool = LAYERS[dims]
        widths = CHANNELS[: max(2, math.ceil(math.log2(size / SMALLEST)))]
        self.blocks = nn.ModuleList(
            nn.Sequential(convolution(c, d, 3, padding=1, bias=False), norm(d), nn.ReLU(), pool(2))
            for c, d in zip((channels, *widths), widths, strict=False)
        )
        flat = widths[-1] * (size >> len(widths)) ** dims
        self.to_features = nn.Sequential(nn.Linear(flat, width, bias=False), nn.BatchNorm1d(width, affine=False))
        self.to_logits = nn.Linear(width, sum(self.classes))
        self.dropout = nn.Dropout(0.3)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits [B, num_classes]; of several questions, one after another."""
        return self.to_logits(self.dropout(relu(self.features(pictures))))

    def features(self, pictures: Tensor) -> Tensor:
        """[B, width], before their ReLU: nearer to a Gaussian than what follows it."""
        return self.to_features(self.maps(pictures)[-1].flatten(1))

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """What each block gives, from fine to coarse: [B, c, size / 2, …], [B, d, size / 4, …], …; for losses that
        compare pictures as they are seen."""
        found = []
        for block in self.blocks:
            pictures = block(pictures)
            found.append(pictures)
        return found


def train_classifier(
    pictures: Tensor,
    labels: Tensor | None,
    num_classes: int | Sequence[int],
    *,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    width: int = 64,
    shift: int = 1,
    mirrored: bool = False,
    batch_size: int = 64,
) -> Classifier:
    """A classifier, trained with Adam and a rate that falls to 0 along a cosine, then frozen and in evaluation mode.

    pictures [N, C, size, …] in [-1, 1], all sides equal; labels [N], from 0 to num_classes - 1, or [N, Q], a
    column for each of Q questions; or None: then it learns by which of four quarter turns a picture was turned (Gidaris
    et al. 2018), and num_classes must be 4.
    steps: repeatable to the bit on one machine; or seconds. Each picture is moved by up to ``shift`` pixels along every
    axis, its edges repeated, and, where ``mirrored``, flipped along the last axis half of the time.
    Raises NerfcoreError where labels do not fit, or where a loss is not finite.
    """
    if len({*pictures.shape[2:]}) != 1:
        raise ValueError(f"pictures must be [N, C, size, …] with equal sides, got {list(pictures.shape)}")
    if (steps is None) == (seconds is None):
        raise NerfcoreError(f"give a classifier steps or seconds, one of them: got {steps} and {seconds}")
    if labels is None and (num_classes not in (4, [4]) or pictures.ndim != 4):
        raise NerfcoreError("without labels a classifier learns four quarter turns of pictures [N, C, size, size]")
    if labels is not None:
        labels, most = labels.view(len(pictures), -1), torch.as_tensor(num_classes).view(-1) - 1
        if labels.shape[1] != len(most) or (labels < 0).any() or (labels.cpu() > most).any():
            found = f"{labels.amin(0).tolist()} to {labels.amax(0).tolist()}"
            raise NerfcoreError(f"labels must be from 0 to {most.tolist()}, got {found}; count the classes again")
    device, generator = pictures.device, torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the initial weights and of the dropout, both drawn from the global generator
        net = Classifier(pictures.shape[1], pictures.shape[2], num_classes, width, pictures.ndim - 2).to(device).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        started, step, fraction = time.perf_counter(), 0, 0.0
        while fraction < 1:
            optimizer.param_groups[0]["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * fraction))
            index = torch.randint(len(pictures), (batch_size,), generator=generator).to(device)
            batch = _moved(pictures[index], shift, mirrored, generator)
            if labels is None:
                batch, truth = quarter_turns(batch, generator)
            else:
                truth = labels[index]
            answers = zip(net(batch).split(net.classes, 1), truth.view(batch_size, -1).unbind(1), strict=True)
            loss = sum(cross_entropy(logits, right, label_smoothing=0.05) for logits, right in answers)
            if not torch.isfinite(loss):
                raise NerfcoreError(f"the loss of a classifier is not finite at step {step}; look at its pictures")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            fraction = step / steps if steps is not None else (time.perf_counter() - started) / seconds
    return net.eval().requires_grad_(False)


@torch.no_grad()
def features_of(pictures: Tensor, net: Classifier | Callable[[Tensor], Tensor]) -> Tensor:
    """[N, F] of pictures [N, C, *spatial] in [-1, 1], a few at a time."""
    features = net.features if isinstance(net, Classifier) else net
    return torch.cat([features(part) for part in pictures.split(MOST_AT_ONCE)])


@torch.no_grad()
def predictions(pictures: Tensor, net: Classifier) -> Tensor:
    """[N, Q]: the likeliest answer to each question of each picture [N, C, *spatial] in [-1, 1]."""
    logits = torch.cat([net(part) for part in pictures.split(MOST_AT_ONCE)])
    return torch.stack([part.argmax(1) for part in logits.split(net.classes, 1)], 1)


def inception_features() -> Callable[[Tensor], Tensor]:
    """The 2048 features before the last layer of torchvision's Inception-v3, of pictures [B, 1 or 3, H, W] in [-1, 1].

    The weights are read from where torch keeps those of its hub, and never fetched. They are torchvision's, not those
    that published FIDs were made with. Raises NerfcoreError that says what is missing.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", INCEPTION)
    try:
        from torchvision.models import inception_v3
    except ImportError as error:
        raise NerfcoreError("Inception features need torchvision; install it, or take our own features") from error
    if not file.is_file():
        raise NerfcoreError(f"Inception's weights are not at {file}; put torchvision's there, or take our features")
    net = inception_v3(weights=None, transform_input=False, init_weights=False)
    net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    net.fc = nn.Identity()
    net.eval().requires_grad_(False)

    def features(pictures: Tensor) -> Tensor:
        large = interpolate(pictures.expand(-1, 3, -1, -1), size=(299, 299), mode="bilinear", antialias=True)
        return net(large)

    return features


def quarter_turns(pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures [B, C, size, size], each turned by a random number of quarters, and these numbers [B]."""
    turns = torch.randint(4, (len(pictures),), generator=generator).to(pictures.device)
    turned = [torch.rot90(picture, int(k), (1, 2)) for picture, k in zip(pictures, turns, strict=True)]
    return torch.stack(turned), turns


def _moved(pictures: Tensor, shift: int, mirrored: bool, generator: torch.Generator) -> Tensor:
    """Each picture [C, *spatial] of a batch by an offset of its own, the edges repeated, and flipped or not."""
    for axis in range(2, pictures.ndim):
        size = pictures.shape[axis]
        offset = torch.randint(-shift, shift + 1, (len(pictures), 1), generator=generator)
        index = (torch.arange(size) + offset).clamp(0, size - 1)
        if mirrored and axis == pictures.ndim - 1:
            flipped = torch.rand(len(pictures), 1, generator=generator) < 0.5
            index = torch.where(flipped, size - 1 - index, index)
        shape = [len(pictures)] + [1] * (pictures.ndim - 1)
        shape[axis] = size
        pictures = pictures.gather(axis, index.to(pictures.device).view(shape).expand_as(pictures))
    return pictures
