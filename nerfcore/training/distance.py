"""Fits the signed distance field of a triangle mesh: Müller et al. 2022, section 5.2."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from nerfcore.data.triangles import Triangles
from nerfcore.errors import NerfcoreError
from nerfcore.fields.sdf import SDFField
from nerfcore.ops.bvh import build_bvh, signed_distance
from nerfcore.renderer.trace import DistanceModel
from nerfcore.training.loop import Training
from nerfcore.training.optimizer import Adam
from nerfcore.training.schedule import cosine_decay, minutes_or_steps

MARGIN = 0.05  # of the box, on both sides of the longest one of the mesh
ON_SURFACE, UNIFORM = 3 / 8, 1 / 8  # shares of the points of a step, as in the paper; the others are near the surface
WIDTHS = (1 / 4096, 1 / 64)
"""How far points near the surface are off it: logistic, with widths spread evenly in their logarithm, in sides of the
box. Narrow ones place the surface, wide ones lead rays to it. The paper has one width, a 1024th of the diagonal."""
ROUNDING = 1e-5  # of the box: more than float32 loses between a point's offset and its distance

FLOOR = 0.01  # of the box: distances below count as this in the relative error, as in the paper
FRESH_EVERY, MAX_BATCHES = 4, 256
"""Every so many-th step takes new points, the others one of so many earlier batches again: to find the distance of a
point takes longer than to train with it."""


@dataclass(frozen=True)
class DistanceConfig:
    """Settings of one run; every value that influences the result is here."""

    minutes: float | None = None  # wall time from the start of loading; 1 if neither minutes nor steps are given
    steps: int | None = None  # number of steps, instead of minutes: repeatable to the bit
    seed: int = 0  # of every random number
    device: str = "auto"
    backend: str = "auto"
    points_per_step: int = 1 << 15
    learning_rate: float = 1e-2  # of the first step
    final_learning_rate: float = 1e-4  # of the last step
    field_config: dict = dataclasses.field(default_factory=dict)  # as the field's constructor takes it

    def __post_init__(self):
        object.__setattr__(self, "minutes", minutes_or_steps(self.minutes, self.steps, 1.0))
        if self.points_per_step < 8:
            raise NerfcoreError(f"points_per_step must be at least 8, got {self.points_per_step}")


class DistancePoints:
    """Points with their signed distances to triangles that lie in the box, as a field learns them: on the surface, near
    it and anywhere. They come in the order of the tree, in which neighbours lie near one another: what a query or a
    hash grid reads for one is still in the cache for the next.
    """

    def __init__(self, vertices: Tensor, faces: Tensor, backend: str = "auto"):
        """vertices [V, 3] in box coordinates, faces [T, 3]."""
        self.bvh, self.backend = build_bvh(vertices, faces, backend), backend
        a, b, c = self.bvh.corners.double().unbind(1)
        self.area = torch.linalg.cross(b - a, c - a).norm(dim=1).cumsum(0)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points [N, 3] in the box and their signed distances [N]; N = count."""
        num_on, num_uniform = int(ON_SURFACE * count), int(UNIFORM * count)
        on = self.on_surface(num_on, generator)
        near = self.on_surface(count - num_on - num_uniform, generator)
        low, high = (math.log(width) for width in WIDTHS)
        width = torch.exp(low + (high - low) * _uniform(len(near), 1, like=near, generator=generator))
        offset = width * torch.logit(_uniform(*near.shape, like=near, generator=generator), eps=1e-6)
        near = (near + offset).clamp(0, 1)
        anywhere = _uniform(num_uniform, 3, like=near, generator=generator)
        within = torch.cat([offset.norm(dim=1) + ROUNDING, offset.new_full((num_uniform,), math.inf)])
        off = torch.cat([near, anywhere])
        distance = signed_distance(self.bvh, off, within, self.backend)
        return torch.cat([on, off]), torch.cat([torch.zeros_like(on[:, 0]), distance])

    def on_surface(self, count: int, generator: torch.Generator) -> Tensor:
        """Points [N, 3], evenly spread by area: one in each of N equal parts of it, anywhere in the triangle there."""
        part = torch.arange(count, device=self.area.device) + _uniform(count, like=self.area, generator=generator)
        triangle = torch.searchsorted(self.area, self.area[-1] * part / count).clamp(max=len(self.area) - 1)
        a, b, c = self.bvh.corners[triangle].unbind(1)
        root, along = _uniform(count, 2, like=a, generator=generator).split(1, 1)
        root = root.sqrt()  # of the share that lies before the point: Osada et al. 2002, section 3.1
        return (1 - root) * a + root * (1 - along) * b + root * along * c


class DistanceTrainer(Training):
    """One run's state; ``step()`` is the whole method."""

    def __init__(self, triangles: Triangles, config: DistanceConfig, device: str = "cpu"):
        super().__init__(config, device)
        self.triangles, self.transform = triangles, triangles.centred_in_box(MARGIN)
        vertices = self.transform.to_box(triangles.vertices).float().to(device)
        self.points = DistancePoints(vertices, triangles.faces.to(device), config.backend)
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.field = SDFField(**config.field_config, backend=config.backend)
        self.field.initialise(torch.Generator().manual_seed(config.seed))
        self.field.to(device)
        self.optimizer = Adam(self.field.named_parameters(), config.backend)

    @property
    def trained(self):
        return self.field

    def step(self) -> None:
        """Takes points, compares their distances with those that the field says, and moves the parameters."""
        config = self.config
        self.optimizer.begin_step(
            cosine_decay(self.fraction, self.steps, config.learning_rate, config.final_learning_rate)
        )
        x, distance = self._batch()
        loss = relative_error(self.field.learned(x), distance)
        names, parameters = zip(*self.field.named_parameters(), strict=True)
        self.optimizer.step(dict(zip(names, torch.autograd.grad(loss, parameters), strict=True)))
        self.loss.copy_(loss.detach())
        self.steps += 1

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Points [N, 3] with their distances [N] that are new, or those of an earlier step."""
        number, repeats = divmod(self.steps, FRESH_EVERY)
        if self.batches and repeats:
            return self.batches[torch.randint(len(self.batches), (), generator=self.generator, device=self.device)]
        batch = self.points.draw(self.config.points_per_step, self.generator)
        if len(self.batches) < MAX_BATCHES:
            self.batches.append(batch)
        else:
            self.batches[number % MAX_BATCHES] = batch
        return batch

    def model(self, header: dict) -> DistanceModel:
        """The field as it is now, ready to render and to be saved."""
        return DistanceModel(self.field, self.transform, header)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that :meth:`load_state` needs to go on, but for the points of earlier steps: a run that is taken up again
        draws others than one that was not interrupted."""
        tensors = {f"field.{k}": v for k, v in self.field.state_dict().items()} | self.optimizer.state()
        tensors["generator"] = self.generator.get_state()
        return tensors, dict(config=asdict(self.config), seconds=self.seconds, steps=self.steps)

    def load_state(self, tensors: dict[str, Tensor], description: dict) -> None:
        self.field.load_state_dict({k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")})
        self.optimizer.load_state(tensors, description["steps"])
        self.generator.set_state(tensors["generator"])
        self.steps = description["steps"]
        self.seconds_used += description["seconds"]


def relative_error(found: Tensor, true: Tensor) -> Tensor:
    """The mean absolute error in parts of the distance: ``|found - true| / (|true| + 0.01)``."""
    return ((found - true).abs() / (true.abs() + FLOOR)).mean()


def _uniform(*shape: int, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=like.dtype, device=like.device)
