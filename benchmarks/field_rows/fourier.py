"""Does encoding coordinates let a network see detail?

Section 6 of Tancik et al. 2020, in small: a network of coordinates is trained on every second pixel each way of 256 x
256 crops and scored on the pixels between them; of albert a box mean over 2 x 2 pixels is cropped. A tenth of the
pixels between, the same for all, chooses the highest frequency of the positional encoding and the bandwidth of the
Gaussian one; the rest score. Then the kernel: of infinitely wide networks and, on average, of many wide ones, on a
torus; and which bandwidth it prefers on the middle of each crop, where no network is trained.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nerfcore.analysis.ntk import (
    bandwidth_scan,
    draw_relu_network,
    empirical_ntk,
    relu_network,
    relu_ntk,
    shift_profile,
    spectrum,
    torus_points,
)
from nerfcore.blocks.encoding import (
    basic_frequencies,
    fourier_encoding,
    gaussian_frequencies,
    positional_frequencies,
)
from nerfcore.data.images import box_mean

from ._photographs import photographs

MODULES = ("nerfcore.analysis.ntk", "nerfcore.data.images")
TARGET = {"margins": "none < basic < positional < gaussian on every picture", "shift_invariance": 1e-3}
SIDE, FREQUENCIES, HIDDEN, LAYERS = 256, 128, 128, 3
HIGHEST = (16.0, 32.0, 64.0)  # frequencies of positional encodings, in cycles per crop
BANDWIDTHS = (2.0, 4.0, 6.0, 10.0, 20.0)
STEPS, BATCH, LEARNING_RATE = 600, 2048, 2e-3
VALIDATION = 0.1  # of the pixels between
TORUS, DRAWS, WIDTH = 8, 512, 1 << 16  # points around; networks of one hidden layer, and its width
CROP = 64  # of the kernel's own scan


def pictures(folder: Path) -> dict[str, Tensor]:
    """Crops [SIDE, SIDE, 3] in [0, 1]."""
    crops = {}
    for name, image in photographs(folder).items():
        image = box_mean(image, 2) / 65535 if name == "albert" else image / 255
        top, left = ((n - SIDE) // 2 for n in image.shape[:2])
        crops[name] = torch.from_numpy(np.asarray(image[top : top + SIDE, left : left + SIDE], np.float32))
    return crops


def grid(side: int) -> Tensor:
    """[side², 2] in [0, 1): rows of pixels."""
    return torus_points(side, side).float()


def arms(seed: int) -> dict[str, dict[float, Tensor | None]]:
    """Frequencies of every encoding by what is chosen about it."""
    unit = gaussian_frequencies(2, FREQUENCIES, 1.0, torch.Generator().manual_seed(seed))
    return {
        "none": {0.0: None},
        "basic": {1.0: basic_frequencies(2)},
        "positional": {f: positional_frequencies(2, FREQUENCIES // 2, f) for f in HIGHEST},
        "gaussian": {b: b * unit for b in BANDWIDTHS},
    }


def fit(frequencies: Tensor | None, image: Tensor, seed: int, steps: int) -> Tensor:
    """The whole picture [SIDE, SIDE, 3] as a network sees it that was shown a quarter of its pixels."""
    torch.manual_seed(seed)
    x, shown = grid(SIDE), torch.zeros(SIDE, SIDE, dtype=torch.bool)
    shown[::2, ::2] = True
    encoded = 2 * x - 1 if frequencies is None else fourier_encoding(x, frequencies)
    widths = [encoded.shape[1], *[HIDDEN] * LAYERS]
    layers = [part for i, o in zip(widths, widths[1:], strict=False) for part in (nn.Linear(i, o), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(HIDDEN, 3), nn.Sigmoid())
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inputs, colors = encoded[shown.flatten()], image[shown]
    for _ in range(steps):
        batch = torch.randint(len(inputs), (BATCH,))
        optimizer.zero_grad()
        (network(inputs[batch]) - colors[batch]).square().mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return network(encoded).view(SIDE, SIDE, 3)


def psnr(found: Tensor, truth: Tensor) -> float:
    return -10 * math.log10((found - truth).square().mean().item())


def compare(name: str, image: Tensor, seed: int, steps: int) -> dict:
    """Every encoding on one picture: of each the best by the validation pixels, scored on the others."""
    between = torch.ones(SIDE, SIDE, dtype=torch.bool)
    between[::2, ::2] = False
    chosen = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0)) < VALIDATION
    validation, test = between & chosen, between & ~chosen
    result = {"picture": name, "seed": seed}
    for arm, choices in arms(seed).items():
        scan = []
        for choice, frequencies in choices.items():
            begin = time.perf_counter()
            found = fit(frequencies, image, seed, steps)
            masks = {"validation": validation, "test": test}
            scores = {where: psnr(found[mask], image[mask]) for where, mask in masks.items()}
            scan.append({"choice": choice, **scores, "seconds": time.perf_counter() - begin})
            print(f"{name}, {arm} {choice:g}: {scores['test']:.2f} dB", file=sys.stderr, flush=True)
        best = max(scan, key=lambda s: s["validation"])
        result[arm] = {"psnr": best["test"], "choice": best["choice"], "scan": scan}
    order = [result[arm]["psnr"] for arm in ("none", "basic", "positional", "gaussian")]
    result["margins"] = [b - a for a, b in zip(order, order[1:], strict=False)]
    return result


def preferred_by_kernel(image: Tensor, seed: int) -> dict:
    """The bandwidth, in cycles per crop of SIDE, that kernel regression prefers on the middle of it."""
    first = (SIDE - CROP) // 2
    middle = image[first : first + CROP, first : first + CROP].double()
    x, shown = grid(CROP).double(), torch.zeros(CROP, CROP, dtype=torch.bool)
    shown[::2, ::2] = True
    unit = gaussian_frequencies(2, FREQUENCIES, 1.0, torch.Generator().manual_seed(seed)).double() * (CROP / SIDE)
    flat = shown.flatten()
    values = middle[shown] - middle[shown].mean(0)
    truth = middle[~shown] - middle[shown].mean(0)
    errors = bandwidth_scan(BANDWIDTHS, unit, x[flat], values, x[~flat], truth, LAYERS)
    return {
        "choice": BANDWIDTHS[errors.argmin().item()],
        "psnr": [-10 * math.log10(e) for e in errors.tolist()],
    }


def kernels(seed: int) -> dict:
    """How far kernels on a torus are from functions of the offset, and their spectra."""
    x, unit = torus_points(16, 16), gaussian_frequencies(2, FREQUENCIES, 1.0, torch.Generator().manual_seed(seed))
    spectra, errors = {}, {}
    for name, frequencies in {
        "basic": basic_frequencies(2), "gaussian 2": 2 * unit, "gaussian 4": 4 * unit,
    }.items():
        whole = frequencies.round().double()  # so that features close around the torus
        encoded = fourier_encoding(x, whole) / whole.shape[1] ** 0.5
        kernel = relu_ntk(encoded, encoded, LAYERS)
        errors[name] = shift_profile(kernel, (16, 16))[1]
        spectra[name] = (spectrum(kernel) / kernel.trace()).tolist()
    bare = torch.cat((2 * x - 1, torch.ones(len(x), 1, dtype=x.dtype)), 1)
    kernel = relu_ntk(bare, bare, LAYERS)
    spectra["none"] = (spectrum(kernel) / kernel.trace()).tolist()
    without = shift_profile(kernel, (16, 16))[1]
    return {"infinite": errors, "infinite_without_features": without, "spectra": spectra, **finite_networks(seed)}


def finite_networks(seed: int) -> dict:
    """Empirical kernels of networks with one hidden layer: one by one, at growing width, and their mean over many."""
    x = torus_points(TORUS)
    encoded = (fourier_encoding(x, torch.arange(3, dtype=torch.float64)[None]) / 3**0.5).float()
    generator = torch.Generator().manual_seed(seed)

    def kernel(width: int) -> Tensor:
        return empirical_ntk(relu_network, draw_relu_network(encoded.shape[1], width, 1, generator), encoded)

    def error(width: int) -> float:
        return float(np.mean([shift_profile(kernel(width), (TORUS,))[1] for _ in range(8)]))

    total = sum(kernel(WIDTH).double() for _ in range(DRAWS)) / DRAWS
    exact = relu_ntk(encoded.double(), encoded.double(), 1)
    return {
        "one_network": {str(width): error(width) for width in (256, 4096, WIDTH)},
        "mean_of_networks": {"networks": DRAWS, "width": WIDTH, "error": shift_profile(total, (TORUS,))[1]},
        "mean_from_infinite": ((total - exact).abs().max() / exact.abs().max()).item(),
    }


def measure(options) -> dict:
    """The row."""
    crops, steps = pictures(options.folder), max(round(options.share * STEPS), 1)
    found = [compare(name, crop, seed, steps) for seed in options.seeds for name, crop in crops.items()]
    smallest = [min(f["margins"][i] for f in found) for i in range(3)]
    kernel = kernels(0) | {"preferred": {name: preferred_by_kernel(crop, 0) for name, crop in crops.items()}}
    invariance = max(*kernel["infinite"].values(), kernel["mean_of_networks"]["error"])
    return {
        "holds": min(smallest) > 0 and invariance <= TARGET["shift_invariance"],
        "smallest_margins": dict(zip(("basic", "positional", "gaussian"), smallest, strict=True)),
        "shift_invariance": invariance,
        "steps": steps,
        "seeds": options.seeds,
        "pictures": found,
        "kernel": kernel,
    }


def draw(row: dict, folder: Path) -> str:
    """fourier.svg: what every bandwidth gives, beside the other encodings, and spectra of the kernel. Its name."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "nerfcore", "font.size": 8}
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    styles = {"none": ":", "basic": "-.", "positional": "--"}
    first_seed = [p for p in row["pictures"] if p["seed"] == row["pictures"][0]["seed"]]
    for i, picture in enumerate(first_seed):
        scan = picture["gaussian"]["scan"]
        left.plot(
            [s["choice"] for s in scan], [s["test"] for s in scan], "o-", ms=3, color=f"C{i}", label=picture["picture"]
        )
        for arm, style in styles.items():
            left.axhline(picture[arm]["psnr"], ls=style, lw=0.8, color=f"C{i}")
    for arm, style in styles.items():
        left.plot([], [], style, color="grey", label=arm)
    left.set(xlabel="bandwidth of Gaussian features, cycles per picture", xscale="log")
    left.set_ylabel("PSNR between pixels, dB")
    left.set_xticks(BANDWIDTHS, [f"{b:g}" for b in BANDWIDTHS])
    left.minorticks_off()
    for name, values in row["kernel"]["spectra"].items():
        right.plot(range(1, len(values) + 1), np.maximum(values, 1e-9), label=name)
    right.set(xlabel="eigenvalue of the kernel on a torus of 16 x 16", ylabel="share of the trace")
    right.set(xscale="log", yscale="log", ylim=(1e-7, 1))
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    figure.savefig(folder / "fourier.svg", metadata={"Date": None})
    return "fourier.svg"
