"""Volume compositing of packed samples, forward and backward to density and colour; rays are of uneven length."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from arms import Arm, Cost

MEAN_SAMPLES, MOST_SAMPLES = 32, 128
READ, WRITTEN = 4 + 12 + 4 + 4, 4 + 12  # bytes a sample: density, colour, interval; their gradients


@dataclass(frozen=True)
class Work:
    rays: int
    backward: bool = True

    def small(self) -> Work:
        return replace(self, rays=2**7)


def inputs(work: Work) -> dict[str, np.ndarray]:
    """offsets [R + 1] int64, of 0 to 128 samples a ray, 32 in the mean; float32 sigma, t_start, t_end [S] and rgb
    [S, 3]; the cotangents of colour, opacity and distance grad_out [R, 5]."""
    generator = np.random.default_rng(0)
    count = np.minimum(generator.geometric(1 / (MEAN_SAMPLES + 1), work.rays) - 1, MOST_SAMPLES)
    offsets = np.concatenate(([0], np.cumsum(count)))
    samples, step = int(offsets[-1]), np.float32(3**0.5 / 1024)
    t_start = np.float32(0.1) + (np.arange(samples) - np.repeat(offsets[:-1], count)).astype(np.float32) * step
    return {
        "offsets": offsets, "sigma": 60 * generator.random(samples, np.float32), "t_start": t_start,
        "t_end": t_start + step, "rgb": generator.random((samples, 3), np.float32),
        "grad_out": generator.random((work.rays, 5), np.float32),
    }


def cost(work: Work) -> Cost:
    """Density, colour and interval are read once in each pass; gradients are written. Rays are few beside samples."""
    samples = len(inputs(work)["sigma"])
    moved = samples * (2 * READ + WRITTEN if work.backward else READ) + work.rays * (8 + 20) * (1 + work.backward)
    return Cost(
        bytes=float(moved),
        flops=samples * (60.0 if work.backward else 25.0),  # an exponential counts as ten
        random_accesses=0.0,
        seconds=lambda limits: limits.copy_seconds(moved),
        counted=f"{READ} bytes a sample read" + (f" twice, {WRITTEN} written" if work.backward else "") + ", copy rate",
    )


def _torch_arm(work: Work, compositing, double: bool = False) -> Arm:
    import torch

    from nerfcore.types import Samples

    offsets, *floats = (torch.from_numpy(v) for v in inputs(work).values())
    sigma, t_start, t_end, rgb, grad_out = (v.double() if double else v for v in floats)
    samples, last = Samples(t_start, t_end, offsets), {}
    leaves = [v.requires_grad_(work.backward) for v in (sigma, rgb)]
    cotangents = [v.contiguous() for v in (grad_out[:, :3], grad_out[:, 3], grad_out[:, 4])]

    def step():
        last.clear()  # the memory of the last step serves this one
        out = compositing(sigma, rgb, samples, stop_below=0.0)[:3]
        last["rgb"], last["opacity"], last["distance"] = out
        if work.backward:
            last["grad_sigma"], last["grad_rgb"] = torch.autograd.grad(out, leaves, cotangents)

    return Arm(step, lambda: {k: v.detach().numpy() for k, v in last.items()})


def truth(work: Work) -> dict[str, np.ndarray]:
    """rgb [R, 3], opacity and distance [R], and the gradients grad_sigma [S] and grad_rgb [S, 3]."""
    from nerfcore.ops.composite import composite_reference

    arm = _torch_arm(work, composite_reference, double=True)
    arm.step()
    return arm.result()


def nerfcore_arm(work: Work, threads: int) -> Arm:
    from nerfcore.ops.composite import composite

    return _torch_arm(work, composite)


def torch_arm(work: Work, threads: int) -> Arm:
    """Rays padded to the longest one."""
    from nerfcore.ops.composite import composite_reference

    return _torch_arm(work, composite_reference)


def numba_arm(work: Work, threads: int) -> Arm:
    """A loop per ray; the backward pass walks the ray again, with what is behind each sample as a remainder."""
    import numba

    numba.set_num_threads(threads)
    forward, backward = _numba_kernels()
    *read, grad_out = inputs(work).values()
    sigma, rgb = read[1], read[4]
    out, grad_sigma, grad_rgb = np.empty((work.rays, 5), np.float32), np.empty_like(sigma), np.empty_like(rgb)

    def step():
        forward(*read, out)
        if work.backward:
            backward(*read, out, grad_out, grad_sigma, grad_rgb)

    return Arm(step, lambda: _results(out, grad_sigma, grad_rgb, work.backward))


@functools.cache
def _numba_kernels():
    import numba

    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)

    @numba.njit(parallel=True, fastmath=True)
    def forward(offsets, sigma, t_start, t_end, rgb, out):
        for ray in numba.prange(len(offsets) - 1):
            light = one
            red = green = blue = opacity = distance = zero
            for i in range(offsets[ray], offsets[ray + 1]):
                passes = np.exp(-sigma[i] * (t_end[i] - t_start[i]))
                weight = light * (one - passes)
                red += weight * rgb[i, 0]
                green += weight * rgb[i, 1]
                blue += weight * rgb[i, 2]
                opacity += weight
                distance += weight * half * (t_start[i] + t_end[i])
                light *= passes
            out[ray, 0], out[ray, 1], out[ray, 2], out[ray, 3], out[ray, 4] = red, green, blue, opacity, distance

    @numba.njit(parallel=True, fastmath=True)
    def backward(offsets, sigma, t_start, t_end, rgb, out, grad_out, grad_sigma, grad_rgb):
        for ray in numba.prange(len(offsets) - 1):
            light, behind = one, zero
            for c in range(5):
                behind += grad_out[ray, c] * out[ray, c]
            for i in range(offsets[ray], offsets[ray + 1]):
                length = t_end[i] - t_start[i]
                passes = np.exp(-sigma[i] * length)
                weight = light * (one - passes)
                value = grad_out[ray, 3] + grad_out[ray, 4] * half * (t_start[i] + t_end[i])
                for c in range(3):
                    value += grad_out[ray, c] * rgb[i, c]
                    grad_rgb[i, c] = weight * grad_out[ray, c]
                behind -= weight * value
                light *= passes
                grad_sigma[i] = length * (light * value - behind)

    return forward, backward


def drjit_arm(work: Work, threads: int) -> Arm:
    """A lane per ray, which loops over its samples; the backward pass by hand as a second loop."""
    from arms.drjit_llvm import drjit_on

    dr = drjit_on(threads)
    from drjit.llvm.ad import Array3f, Float, UInt

    offsets, sigma, t_start, t_end, rgb, grad_out = inputs(work).values()
    first, count = UInt(offsets[:-1].astype(np.uint32)), UInt(np.diff(offsets).astype(np.uint32))
    samples, rays = len(sigma), work.rays
    sigma, t_start, t_end, rgb = Float(sigma), Float(t_start), Float(t_end), Float(rgb.ravel())
    grad_color = Array3f(grad_out[:, :3].T.copy())
    grad_opacity, grad_distance = Float(grad_out[:, 3].copy()), Float(grad_out[:, 4].copy())

    def read(i):
        start, end = dr.gather(Float, t_start, i), dr.gather(Float, t_end, i)
        return end - start, 0.5 * (start + end), dr.gather(Float, sigma, i), dr.gather(Array3f, rgb, i)

    def forward():
        def body(k, light, color, opacity, distance):
            length, middle, density, c = read(first + k)
            passes = dr.exp(-density * length)
            weight = light * (1 - passes)
            return k + 1, light * passes, color + weight * c, opacity + weight, distance + weight * middle

        state = (UInt(0), dr.ones(Float, rays), dr.zeros(Array3f, rays), dr.zeros(Float, rays), dr.zeros(Float, rays))
        _, _, *out = dr.while_loop(state, lambda k, *_: k < count, body)
        return out

    def backward(color, opacity, distance):
        grad_sigma, grad_rgb = dr.zeros(Float, samples), dr.zeros(Float, 3 * samples)

        def body(k, light, behind):
            i = first + k
            length, middle, density, c = read(i)
            passes = dr.exp(-density * length)
            weight = light * (1 - passes)
            value = dr.dot(grad_color, c) + grad_opacity + grad_distance * middle
            behind, light = behind - weight * value, light * passes
            dr.scatter(grad_sigma, length * (light * value - behind), i)
            dr.scatter(grad_rgb, weight * grad_color, i)
            return k + 1, light, behind

        behind = dr.dot(grad_color, color) + grad_opacity * opacity + grad_distance * distance
        dr.eval(dr.while_loop((UInt(0), dr.ones(Float, rays), behind), lambda k, *_: k < count, body))
        return grad_sigma, grad_rgb

    last = {}

    def step():
        last["out"] = forward()
        dr.eval(last["out"])
        if work.backward:
            last["grads"] = backward(*last["out"])
            dr.eval(last["grads"])
        dr.sync_thread()

    def result():
        color, opacity, distance = last["out"]
        out = np.stack([*color.numpy(), opacity.numpy(), distance.numpy()], 1)
        grad_sigma, grad_rgb = (g.numpy() for g in last.get("grads", (Float(), Float())))
        return _results(out, grad_sigma, grad_rgb.reshape(-1, 3), work.backward)

    return Arm(step, result)


def _results(out: np.ndarray, grad_sigma: np.ndarray, grad_rgb: np.ndarray, backward: bool) -> dict[str, np.ndarray]:
    values = {"rgb": out[:, :3], "opacity": out[:, 3], "distance": out[:, 4]}
    return values | ({"grad_sigma": grad_sigma, "grad_rgb": grad_rgb} if backward else {})


ARMS = {"nerfcore": nerfcore_arm, "torch": torch_arm, "numba": numba_arm, "drjit": drjit_arm}
