"""Fits a field to the photographs of a scene."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nerfcore._extension import use_huge_pages
from nerfcore.data.pixels import PixelSampler
from nerfcore.data.scene import Scene
from nerfcore.errors import NerfcoreError
from nerfcore.fields import Field
from nerfcore.ops._dispatch import use_kernel
from nerfcore.ops._guard import finite_guard
from nerfcore.ops._late import LateNumber
from nerfcore.ops.composite import composite
from nerfcore.ops.occupancy import SCATTERED
from nerfcore.renderer.model import Model, background_rgb
from nerfcore.renderer.occupancy import OccupancyGrid
from nerfcore.renderer.volume import Marching, place_samples, sample_positions
from nerfcore.training.cameras import CameraRefinement
from nerfcore.training.config import TrainConfig
from nerfcore.training.field import new_field
from nerfcore.training.loop import Training, decibels
from nerfcore.training.loss import DepthTerm, modular_loss, over, photometric_loss
from nerfcore.training.optimizer import Adam
from nerfcore.training.recorder import StepRecorder
from nerfcore.training.schedule import cosine_decay
from nerfcore.types import SampleLattice, TouchedGradient

SAMPLES_PER_STEP = {"cpu": 1 << 14, "cuda": 1 << 18}
MIN_LATE_RAYS, MAX_RAYS = 64, 1 << 16
MAX_SAMPLES = 1 << 22  # of a step, whatever rays meet: bounds its memory
OCCUPANCY_EVERY = 16  # steps, as in Müller et al. 2022
FORGET_RAYS = 1 << 18  # enough to meet, many times, every block that a few cameras see
EARLY_STEPS = 256  # while the whole box still looks occupied
FIRST_STRIDE, UNIT_STRIDE_AT = 4.0, 0.9
"""Steps along a ray are at first so many times as long as in a picture, and shrink to their length at this share of the
budget: rays through fog that has not cleared yet cost less, so that a step sees more of them."""

SEEN_RAYS, SEEN_SAMPLES, SEEN_AT_ONCE = 1 << 18, 1 << 24, 1 << 13
"""By so many training rays, or samples, and so many rays at once, a field that grows learns what is seen of it."""

FULL_FROM = 0.5
"""Samples have their whole gradient from this share of the distance on that cameras have from the middle of the box."""

COUNTERS = ("steps", "rays", "samples", "num_rays", "samples_at_update", "rays_at_forget")
OCCUPANCY_STATE = ("sweep", "draw")


class Trainer(Training):
    """One run's state; ``step()`` is the whole method.

    The number of rays follows the samples they need, so that a step costs the same throughout (Müller et al. 2022). On
    a GPU it is a power of two that gives more samples than a step has room for, and the rays that do not fit are left
    out: steps then have few sizes, so that they can be recorded, and the host never waits: what it has to know it reads
    16 steps late.

    folder: where a pool of pixels lies, if memory does not hold the photographs; :meth:`close` removes it.
    """

    def __init__(self, scene: Scene, config: TrainConfig, device: str = "cpu", folder: Path | None = None):
        super().__init__(config, device)
        self.scene = scene
        on_gpu = self.generator.device.type == "cuda"
        self.samples_per_step = config.samples_per_step or SAMPLES_PER_STEP["cuda" if on_gpu else "cpu"]
        records = on_gpu and use_kernel(config.backend, torch.empty(0, device=device))
        self.capacity = self.samples_per_step if records else None
        pool = dict(nbytes=int(config.pool * 2**30), folder=folder, repeatable=config.deterministic)
        self.pixels = PixelSampler(scene.train, device, scene.transform, **pool)
        self.follows_depth = self.pixels.is_measured and config.depth_weight > 0
        self.marching = Marching.for_cascades(scene.cascades)
        self.field = new_field(scene, config).to(device)
        self.occupancy = OccupancyGrid(
            config.occupancy_resolution, scene.cascades, self.marching.step, device, config.backend, waits=not records
        )
        if self.field.marches:
            self.occupancy.exclude(
                lambda x, radius: seen_by_a_camera(scene, scene.transform.to_world(x), radius / scene.transform.scale)
            )
        self.optimizer = Adam(self.field.named_parameters(), config.backend, self.field.rate)
        self.cameras = None
        if config.refine != "none" or config.appearance != "none":
            self.cameras = CameraRefinement(
                scene.train, scene.transform, config.refine, config.appearance,
                code_features=self.field.code_features, device=device, backend=config.backend,
            )
        centres = scene.transform.to_box(scene.camera_centres())
        self.full_from = FULL_FROM * (centres - 0.5).norm(dim=-1).median().item()
        self.num_rays = config.min_rays
        self.rays = self.samples = self.samples_at_update = self.rays_at_forget = 0
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.met = torch.zeros((), dtype=torch.float64, device=device)  # how many samples a ray of a step met
        self.met_late = LateNumber()
        # a pool is read by the host; lenses are inverted, and exponentials of maps taken, until they are exact: waits
        exact = config.refine == "cameras" or config.appearance == "affine"
        self.records = records and not self.pixels.is_pooled and not exact
        self._follow_field()

    def _follow_field(self) -> None:
        """After parameters of the field were made, or replaced by others."""
        self.optimizer.follow(self.field.named_parameters())
        self.recorder = StepRecorder(self.records, self.generator, self.field.parameters())
        self.touched: dict[str, TouchedGradient] = {}
        for name in self.field.tables:
            table = self.field.get_parameter(name).detach().flatten(0, -2)
            if not table.is_cuda and use_kernel(self.config.backend, table):  # elsewhere whole gradients are as quick
                self.touched[name] = TouchedGradient.zeros_like(table)
                use_huge_pages(self.touched[name].values)

    @property
    def trained(self):
        return self.field

    def counts(self):
        return {"rays_per_second": self.rays, "samples_per_second": self.samples}

    def shown(self):
        return {"psnr": decibels(self.loss), "num_rays": self.num_rays}

    def step(self) -> None:
        """Draws rays, renders them, compares, and moves the parameters."""
        early = self.steps < EARLY_STEPS
        if self.steps % OCCUPANCY_EVERY == 0:
            if self.field.grow(self.fraction, self._seen):
                self._follow_field()
            if self.field.marches:
                self._update_occupancy(early)
        config, num_rays, fraction = self.config, self.num_rays, self.fraction
        stride = march_stride(fraction)
        if self.capacity:
            stride = 2 ** (math.ceil(2 * math.log2(stride)) / 2)
        rate = cosine_decay(fraction, self.steps, config.learning_rate, config.final_learning_rate)
        self.optimizer.begin_step(rate)
        detail = None if self.cameras is None else self.cameras.begin_step(fraction, self.steps)
        how = num_rays, stride, detail
        self.recorder.run(how, partial(self._fit, *how))
        self.steps += 1
        if self.capacity is None or self.steps % OCCUPANCY_EVERY == 0:
            self._follow_samples(early)

    def _fit(self, num_rays: int, stride: float, detail: float | None) -> None:
        """The part of a step that is all on the device. detail: of the field, while cameras move; else None."""
        config = self.config
        with _repeatable_sums(config.deterministic and self.capacity is not None):
            rays, pixel, image, distance = self.pixels.sample(num_rays, self.generator)
            depth = DepthTerm(distance, config.depth_weight) if self.follows_depth else None
            jitter, background = self._random(num_rays), self._background(num_rays)
            lattice = self.marching.lattice(self.occupancy, stride, self._most_samples_per_ray(num_rays))
            # the same background behind picture and prediction: only what is really there can match a random one
            truth, code = over(background, pixel), None
            if self.cameras is not None:
                with torch.set_grad_enabled(detail is not None):
                    rays = self.cameras(rays, image)
                    background, truth = (self.cameras.in_field(c, rays, image) for c in (background, truth))
                    if (codes := self.cameras.codes()) is not None:
                        code = codes.index_select(0, image)
            batch = self.field, rays.origin, rays.direction, lattice, jitter, background, truth
            loss, samples, weights, gradients = photometric_loss(
                *batch, self.samples_per_step, self.capacity, config.backend, depth, self.full_from, rays.spread,
                self.touched, code,
            )
            self.loss.copy_(loss)
            if self.capacity is None:  # else looking would be waiting
                self._stop_if_not_finite(gradients, batch)
            self.field.regularise(gradients, self.generator)
            if detail is not None:
                of_rays = dict(origin=rays.origin, direction=rays.direction, background=background, truth=truth)
                self.cameras.step(of_rays | {"code": code}, gradients)
                if detail < 1:
                    self.field.hold_back(gradients, detail)
            if self.field.marches:
                self.occupancy.see(rays.origin, rays.direction, samples, weights)
            self.optimizer.step(gradients)
            met = samples.ray_offsets[-1] if samples.found is None else samples.found
            if detail is not None and self.field.marches and samples.found is None:
                met = weights.count_nonzero()  # as fused steps do, which stop with the light: cameras need as many rays
            self.met.copy_(met).div_(num_rays)

    def _follow_samples(self, early: bool) -> None:
        """Counts, and chooses the number of rays by the samples that a ray met, in the last step or in one before."""
        met, steps = self.met_late.read(self.met) * self.num_rays, 1 if self.capacity is None else OCCUPANCY_EVERY
        taken = min(1.0, self.capacity / max(met, 1.0)) if self.capacity else 1.0
        self.samples += steps * round(taken * met)
        self.rays += steps * round(taken * self.num_rays)
        wanted = self.num_rays * self.samples_per_step / max(met, 1.0)
        fewest = max(self.config.min_rays if early else MIN_LATE_RAYS, self.num_rays // 2)
        num_rays = int(min(max(wanted, fewest), 2 * self.num_rays, MAX_RAYS))
        self.num_rays = num_rays if self.capacity is None else 1 << (num_rays - 1).bit_length()

    def _update_occupancy(self, early: bool) -> None:
        total, recent = len(self.occupancy.density), self.samples - self.samples_at_update
        cells = total // 4 if early else min(max(recent, total // 256), total)
        seed = (self.config.seed * 0x9E3779B1 + self.steps * 0x85EBCA6B) % SCATTERED
        self.occupancy.update(self.field.sigma, cells, seed, settle=early)
        self.samples_at_update = self.samples
        if self.rays - self.rays_at_forget > FORGET_RAYS and not early:
            self.occupancy.forget_hidden()
            self.rays_at_forget = self.rays

    @torch.no_grad()
    def _seen(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions [S, 3] and weights [S] of samples of training rays as the field has them now, batch by batch."""
        lattice, backend = self.marching.lattice(self.occupancy, march_stride(self.fraction)), self.config.backend
        num_rays = num_samples = 0
        while num_rays < SEEN_RAYS and num_samples < SEEN_SAMPLES:
            rays, _, image, _ = self.pixels.sample(SEEN_AT_ONCE, self.generator)
            if self.cameras is not None:
                rays = self.cameras(rays, image)
            samples = place_samples(self.field, rays.origin, rays.direction, lattice, backend)
            x = sample_positions(rays.origin, rays.direction, samples, samples.ray_indices)
            yield x, composite(self.field.sigma(x), torch.zeros_like(x), samples, backend=backend)[3]
            num_rays, num_samples = num_rays + len(rays), num_samples + len(samples)

    def memory_limit(self) -> dict[str, int]:
        """Bytes that training can need at most, by what for: the photographs of all splits, with a direction for every
        pixel of every training camera, or what decoding some of them takes; the field with its gradient, its moments
        and a copy in half precision, the occupancy grid and its update, and one step."""
        field = self.field.most_bytes()
        longest = self._most_samples_per_ray(self.config.min_rays)
        fused = self.cameras is None and not self.follows_depth
        step_bytes = self.field.step_bytes if fused else partial(Field.step_bytes, self.field)
        return {
            "photographs": self.scene.nbytes + self.pixels.nbytes,
            "field": 9 * field // 2,
            "occupancy": 40 * len(self.occupancy.density),
            "step": step_bytes(self.capacity or self._most_samples(), longest, torch.get_num_threads())
            + MAX_RAYS * 200,
        }

    def _stop_if_not_finite(self, gradients: dict[str, Tensor | TouchedGradient], batch: tuple) -> None:
        """Raises before a bad step moves the parameters, and names the operation and the tensor that went bad first:
        the step is repeated, operation by operation. It looks at sums, which are quickly had; what a touched table gets
        has come through the networks, whose gradients show it."""
        dense = {f"the gradient of {name}": g for name, g in gradients.items() if isinstance(g, Tensor)}
        tensors = {"the loss": self.loss, **dense}
        bad = next((name for name, t in tensors.items() if not math.isfinite(t.sum().item())), None)
        if bad is None:
            return
        try:
            with finite_guard():
                modular_loss(*batch, backend=self.config.backend)
        except NerfcoreError as error:
            raise self.not_finite(error) from None
        raise self.not_finite(f"{bad} is not finite")

    @property
    def advice(self):
        advice = "lower the learning rate or look for bad poses"
        on_gpu_in_half = self.config.precision == "fp16" and self.device != "cpu"
        return f"train with precision bf16, {advice}" if on_gpu_in_half else advice

    def model(self, header: dict) -> Model:
        """The field as it is now, ready to render and to be saved."""
        frames, codes = self.scene.train.frames, None
        if self.cameras is not None:
            frames, codes = self.cameras.corrected_frames(), self.cameras.codes()
        views = [(f.name, f.camera, f.pose) for f in frames]
        return Model(
            self.field, self.occupancy, self.marching, self.scene.transform, views, header, self.config.backend,
            None if codes is None else codes.detach(),
        )

    def close(self) -> None:
        """Removes the pool of pixels, if there is one."""
        self.pixels.close()

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that :meth:`load_state` needs to go on as if nothing had happened."""
        tensors = {f"field.{k}": v for k, v in self.field.state_dict().items()} | self.optimizer.state()
        tensors |= {"occupancy.density": self.occupancy.density, "occupancy.bits": self.occupancy.bits}
        tensors["occupancy.seen"] = self.occupancy.seen
        tensors |= {} if self.cameras is None else self.cameras.state()
        tensors["generator"] = self.generator.get_state()
        return tensors, dict(
            config=asdict(self.config),
            seconds=self.seconds,
            threshold=self.occupancy.threshold.item(),
            **{name: getattr(self.occupancy, name) for name in OCCUPANCY_STATE},
            **{name: getattr(self, name) for name in COUNTERS},
        )

    def load_state(self, tensors: dict[str, Tensor], description: dict) -> None:
        """Raises ValueError where the state is that of a run that learned other things."""
        for name in ("refine", "appearance"):
            if (then := description["config"].get(name, "none")) != (now := getattr(self.config, name)):
                raise ValueError(f"it has {name} {then}, not {now}")
        self.field.load_state_dict({k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")})
        self._follow_field()
        self.optimizer.load_state(tensors, description["steps"])
        if self.cameras is not None:
            self.cameras.load_state(tensors, description["steps"])
        self.occupancy.density.copy_(tensors["occupancy.density"])
        self.occupancy.bits.copy_(tensors["occupancy.bits"])
        self.occupancy.seen.copy_(tensors["occupancy.seen"])
        self.occupancy.threshold.fill_(description["threshold"])
        self.generator.set_state(tensors["generator"])
        for owner, names in ((self, COUNTERS), (self.occupancy, OCCUPANCY_STATE)):
            for name in names:
                setattr(owner, name, description[name])
        self.seconds_used += description["seconds"]

    def _most_samples(self) -> int:
        """Of a step: where rays do not march, all have the same number."""
        if self.field.marches:
            return MAX_SAMPLES
        return max(self.samples_per_step, max(self.config.min_rays, MIN_LATE_RAYS) * self.field.samples_per_ray)

    def _most_samples_per_ray(self, num_rays: int) -> int:
        """So that all together have at most MAX_SAMPLES, where nothing else bounds them."""
        return min(SampleLattice.max_samples, self.capacity or MAX_SAMPLES // num_rays)

    def _background(self, num_rays: int) -> Tensor:
        if self.config.background in ("random", "learned"):
            return self._random(num_rays, 3)
        channels = [torch.full((num_rays,), v, device=self.device) for v in background_rgb(self.config.background)]
        return torch.stack(channels, dim=1)

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)


@contextlib.contextmanager
def _repeatable_sums(wanted: bool) -> Iterator[None]:
    """In which operations on a GPU add in the same order every time, where ``wanted``."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # PyTorch demands it, for its matrix products
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def march_stride(fraction: float) -> float:
    """How many times the length of a picture's steps training uses, after a ``fraction`` of the budget."""
    return max(FIRST_STRIDE ** (1 - fraction / UNIT_STRIDE_AT), 1.0)


def seen_by_a_camera(scene: Scene, points: Tensor, radius: float) -> Tensor:
    """bool [N]: whether balls about world points [N, 3] reach into the frame of at least one training camera."""
    seen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for frame in scene.train.frames:
        left = torch.nonzero(~seen).squeeze(1)
        local = (points[left] - frame.pose[:, 3].to(points)) @ frame.pose[:, :3].to(points)
        seen[left] = frame.camera.sees_ball(local, radius)
    return seen
