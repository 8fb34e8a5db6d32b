"""Path tracing whose paths end in a field that is trained while it goes on (Müller et al. 2021)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.rays import camera_rays
from nerfcore.fields.radiance_cache import RadianceCache
from nerfcore.synthetic.paths import Hit, World, emission_weight, path_trace, roulette, scatter
from nerfcore.training.optimizer import Adam

SPREAD = 0.01  # of the area that a pixel sees: paths end where they have spread over more (section 3.4)
TRAINING_SHARE = 0.04  # of the rays of a pass, and
LONG_SHARE = 1 / 8  # of these, whose end is no guess of the cache, but chance
SHORT, LONG = 4, 12  # vertices of training paths
LEARNING_RATE = 5e-3
WARM_UP = 0.15  # share of the time in which the cache learns and no picture is made
WARM_UP_PATHS = 4096
NEARLY_BLACK = 0.01  # squared radiance, below which errors are not relative any more


@dataclass
class Picture:
    """rgb [H, W, 3], linear: the mean of ``passes`` samples of every pixel. seconds: what it took, to learn as well."""

    rgb: Tensor
    passes: int
    seconds: float


def render(
    world: World, camera: Camera, pose: Tensor, seconds: float, cached: bool = True, seed: int = 0
) -> Picture:
    """A picture of a world, as many samples of every pixel as there is time for.

    cached: paths end in a :class:`~nerfcore.fields.radiance_cache.RadianceCache`, as soon as what they see is spread
    over more than the pixel (section 3.4 of the paper); a few of them go on, and teach it. Without, the picture is
    unbiased. Not differentiable.
    """
    started, generator = time.perf_counter(), torch.Generator().manual_seed(seed)
    cache = CachedLight(world, generator) if cached else None

    def rays() -> tuple[Tensor, Tensor]:
        pixel = camera.pixel_centres()
        rays = camera_rays(camera, pose, pixel + torch.rand(pixel.shape, generator=generator) - 0.5)
        return rays.origin, rays.direction

    while cache is not None and time.perf_counter() - started < WARM_UP * seconds:
        cache.learn(*rays(), WARM_UP_PATHS)
    total, passes = torch.zeros(camera.height * camera.width, 3, dtype=torch.float64), 0
    while not passes or time.perf_counter() - started < seconds:
        origin, direction = rays()
        if cache is None:
            total += path_trace(world, origin, direction, generator)
        else:
            cache.learn(origin, direction, max(int(TRAINING_SHARE * len(origin)), 1))
            total += cache.seen(origin, direction)
        passes += 1
    rgb = (total / passes).float().view(camera.height, camera.width, 3)
    return Picture(rgb, passes, time.perf_counter() - started)


class CachedLight:
    """The cache of a world, what teaches it, and what is seen by its help."""

    def __init__(self, world: World, generator: torch.Generator):
        self.world, self.generator = world, generator
        self.field = RadianceCache(backend=world.backend)
        self.field.initialise(generator)
        self.optimizer = Adam(self.field.named_parameters(), world.backend)
        self.low, self.side = world.box[0], (world.box[1] - world.box[0]).max().item()

    def radiance(self, hit: Hit, out: Tensor) -> Tensor:
        """[M, 3]: what surfaces throw back along ``out`` [M, 3]."""
        x = (hit.point - self.low) / self.side
        return self.field.radiance(x, out, hit.normal, hit.albedo, hit.roughness)

    @torch.no_grad()
    def seen(self, origin: Tensor, direction: Tensor) -> Tensor:
        """Radiance [N, 3] along rays [N, 3] by one path each."""
        radiance, alive = torch.zeros_like(origin), torch.arange(len(origin))
        throughput, pdf = torch.ones_like(origin), torch.full_like(origin[:, 0], math.inf)
        spread, enough = torch.zeros_like(pdf), torch.zeros_like(pdf)
        for bounce in range(LONG):
            hit = self.world.hit(origin, direction)
            alive, direction, throughput, pdf, spread, enough = (
                t[hit.there] for t in (alive, direction, throughput, pdf, spread, enough)
            )
            if not len(alive):
                break
            facing = -(direction * hit.normal).sum(1).clamp(max=-1e-3)
            if bounce == 0:
                enough = SPREAD * hit.distance.square() / (4 * math.pi * facing)
            else:
                spread = spread + hit.distance / (pdf * facing).sqrt()
            seen = hit.emission * emission_weight(hit, direction, pdf)[:, None]
            ends = spread.square() > enough if bounce + 1 < LONG else torch.ones_like(enough, dtype=torch.bool)
            light = torch.empty_like(seen)
            light[ends] = self.radiance(_some(hit, ends), -direction[ends])
            on = ~ends
            hit_on, out = _some(hit, on), -direction[on]
            light[on] = self.world.direct(hit_on, out, self.generator)
            radiance.index_add_(0, alive, throughput * (seen + light))
            into, weight, pdf = scatter(hit_on, out, self.generator)
            throughput = throughput[on] * weight
            goes = throughput.amax(1) > 0
            origin = (hit_on.point + self.world.off * hit_on.geometric)[goes]
            alive, spread, enough = (t[on][goes] for t in (alive, spread, enough))
            direction, throughput, pdf = into[goes], throughput[goes], pdf[goes]
        return radiance

    def learn(self, origin: Tensor, direction: Tensor, paths: int) -> float:
        """One step on the vertices of some of the rays' paths; the relative error (section 4)."""
        chosen = torch.randint(len(origin), (paths,), generator=self.generator)
        hit, out, target = self._targets(origin[chosen], direction[chosen])
        if not len(target):
            return 0.0
        found = self.radiance(hit, out)
        loss = ((found - target).square() / (found.detach().square() + NEARLY_BLACK)).mean()
        named = dict(self.field.named_parameters())
        gradients = dict(zip(named, torch.autograd.grad(loss, named.values()), strict=True))
        self.optimizer.begin_step(LEARNING_RATE)
        self.optimizer.step(gradients)
        return loss.item()

    @torch.no_grad()
    def _targets(self, origin: Tensor, direction: Tensor) -> tuple[Hit, Tensor, Tensor]:
        """The vertices of paths along rays [N, 3], the direction of each to where its path came from, and what it
        throws back there: its direct light, and what comes from the next vertex. At the end of short paths that is what
        the cache says (section 3.3)."""
        count, vertices = len(origin), []
        is_long = torch.rand(count, generator=self.generator) < LONG_SHARE
        path, pdf = torch.arange(count), torch.full((count,), math.inf)
        for bounce in range(LONG):
            hit = self.world.hit(origin, direction)
            path, direction, pdf = (t[hit.there] for t in (path, direction, pdf))
            if not len(path):
                break
            out, seen = -direction, hit.emission * emission_weight(hit, direction, pdf)[:, None]
            guessed = ~is_long[path] if bounce + 1 >= SHORT else torch.zeros_like(path, dtype=torch.bool)
            direct = self.world.direct(hit, out, self.generator)
            into, weight, pdf = scatter(hit, out, self.generator)
            weight = weight * roulette(weight, bounce, self.generator)[:, None]
            vertices.append((path, hit, out, seen, direct, weight, guessed))
            on = (weight.amax(1) > 0) & ~guessed
            origin = (hit.point + self.world.off * hit.geometric)[on]
            path, direction, pdf = path[on], into[on], pdf[on]
        coming, hits, outs, targets = torch.zeros(count, 3), [], [], []
        for path, hit, out, seen, direct, weight, guessed in reversed(vertices):
            thrown = direct + weight * coming[path]
            thrown[guessed] = self.radiance(_some(hit, guessed), out[guessed])
            coming[path] = seen + thrown
            hits.append(_some(hit, ~guessed)), outs.append(out[~guessed]), targets.append(thrown[~guessed])
        if not hits:
            return None, torch.empty(0, 3), torch.empty(0, 3)
        together = Hit(*(torch.cat([getattr(h, name) for h in hits]) for name in Hit.__dataclass_fields__))
        return together, torch.cat(outs), torch.cat(targets)


def _some(hit: Hit, chosen: Tensor) -> Hit:
    """Of the points where rays meet the world those that are chosen, bool [M]."""
    names = [name for name in Hit.__dataclass_fields__ if name != "there"]
    return Hit(chosen[chosen], *(getattr(hit, name)[chosen] for name in names))
