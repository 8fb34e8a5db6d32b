"""From a triangle mesh to a run folder with its signed distance field."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import imageio.v3 as iio
import torch
import yaml
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import look_at
from nerfcore.data.triangles import Triangles, load_triangles
from nerfcore.errors import ModelError
from nerfcore.fields.sdf import SDFField
from nerfcore.files import write_file
from nerfcore.mesh import save_mesh
from nerfcore.mesh.level_set import extract_level_set
from nerfcore.mesh.mesh import Mesh
from nerfcore.ops._dispatch import use_kernel
from nerfcore.ops.bvh import nearest_point, winding_number
from nerfcore.renderer.trace import DistanceModel, Light
from nerfcore.training.checkpoint import SCHEMA, load_model, write_tensors
from nerfcore.training.distance import DistanceConfig, DistancePoints, DistanceTrainer
from nerfcore.training.loop import Progress, begin, fit, pick_device
from nerfcore.version import __version__

SCORED_POINTS = 1 << 20
SURFACE_POINTS = 1 << 18
CHUNK = 1 << 17
RESOLUTION = 384  # samples along the longest side of the mesh
PICTURE, SUPERSAMPLED = 512, 2
VIEW, LIGHT = (-0.55, 0.35, -1.0), Light(towards=(0.05, 0.95, -1.33))
"""From where the picture is taken, and its light from the upper left, in a world whose y axis points up, as those of
most mesh files do."""


@dataclass
class DistanceRun:
    """What :func:`train_distance` returns."""

    model: DistanceModel
    config: DistanceConfig
    mesh: Mesh
    out: Path | None = None
    metrics: dict = field(default_factory=dict)


def train_distance(
    path: str | Path | Triangles, out: str | Path | None = None, *,
    on_progress: Callable[[Progress], None] | None = None, **settings,
) -> DistanceRun:
    """Fits a signed distance field to a mesh and, if ``out`` is given, leaves a run folder there: ``model.nerf``,
    ``metrics.json``, ``mesh.ply`` and ``picture.png``, a sphere-traced view.

    path: a mesh file, see :func:`~nerfcore.data.triangles.load_triangles`, or the triangles. settings: fields of
    :class:`~nerfcore.training.distance.DistanceConfig`, such as ``minutes`` or ``steps`` (default 1 minute), ``seed``,
    ``device``, ``backend``. on_progress is called about twice a second. Raises SceneError, OutputError, BackendError:
    one sentence each.
    """
    config = DistanceConfig(**settings)
    device, tell, started = begin(config, on_progress)
    triangles = path if isinstance(path, Triangles) else load_triangles(path)
    trainer = DistanceTrainer(triangles, config, device)
    trainer.started = started
    ready = time.perf_counter()
    if out is not None:
        source = None if isinstance(path, Triangles) else str(Path(path).resolve())
        write_file(Path(out) / "config.yaml", yaml.safe_dump(dict(mesh=source, **asdict(config)), sort_keys=False))
    fit(trainer, [], tell)
    trainer.check_finite()
    train_seconds, trained = trainer.seconds, time.perf_counter()
    tell(Progress("evaluating", trainer.steps, 1.0, train_seconds))
    header = dict(version=__version__, torch=torch.__version__, scene=triangles.name, config=asdict(config))
    model = trainer.model(header | dict(steps=trainer.steps, train_seconds=train_seconds))
    mesh = mesh_of(model, triangles, config.backend)
    metrics = dict(
        schema=SCHEMA,
        **score(model, mesh, triangles, trainer.points),
        steps=trainer.steps,
        train_seconds=train_seconds,
        timeline=dict(loading=ready - started, training=trained - ready, evaluating=time.perf_counter() - trained),
        points_per_second=trainer.steps * config.points_per_step / (trained - ready),
        parameters=sum(p.numel() for p in trainer.field.parameters()),
        vertices=len(triangles.vertices),
        faces=len(triangles.faces),
        is_closed=triangles.is_closed,
        device=device,
        backend=device if use_kernel(config.backend, trainer.field.table) else "reference",
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        seed=config.seed,
        version=__version__,
        scene=triangles.name,
    )
    run = DistanceRun(model, config, mesh, None if out is None else Path(out), metrics)
    if out is not None:
        tell(Progress("saving", trainer.steps, 1.0, train_seconds))
        write_tensors(run.out / "model.nerf", *model.state())
        save_mesh(mesh, run.out / "mesh.ply")
        png = iio.imwrite("<bytes>", picture_of(model, triangles).numpy(), extension=".png")
        write_file(run.out / "picture.png", png)
        write_file(run.out / "metrics.json", json.dumps(metrics, indent=1))
    return run


def load_distance(path: str | Path, device: str = "auto", backend: str = "auto") -> DistanceModel:
    """Loads a ``model.nerf`` of a distance field, or the one in a run folder; no mesh is needed.

    Raises ModelError for a missing, damaged or newer file, and for one of another field.
    """

    def made(tensors: dict[str, Tensor], description: dict) -> DistanceModel:
        if description.get("field") != SDFField.name:
            name = description.get("field")
            raise ModelError(f"{path} holds a field {name!r}, no distance; load it by nerfcore.load")
        return DistanceModel.from_state(tensors, description, pick_device(device), backend)

    return load_model(path, made)


def mesh_of(model: DistanceModel, triangles: Triangles, backend: str = "auto", resolution: int = RESOLUTION) -> Mesh:
    """The surface of a model, in the coordinates of the triangles that it was trained on: marching cubes over their
    box, with a margin of four cells."""
    lower, upper = triangles.box
    margin = 4 * (upper - lower).max() / resolution
    return extract_level_set(model.distance, lower - margin, upper + margin, resolution, backend)


@torch.no_grad()
def score(model: DistanceModel, mesh: Mesh, triangles: Triangles, true: DistancePoints) -> dict[str, float]:
    """How near a model comes to triangles, which ``true`` holds in the coordinates of the model's box.

    iou: of the insides, where the field is negative and where the triangles wind around a point, over 2^20 points
    spread evenly over the box of the triangles. surface_error: the mean distance between the surface of the field, as
    marching cubes cut it (``mesh``), and the triangles, over 2^18 points on one and as many on the other, in parts of
    the diagonal of the box of the triangles; of its two ways, surface_error_there is that from the triangles to the
    field. surface_worst: the largest distance found.
    """
    generator = torch.Generator(model.device).manual_seed(0)
    lower, upper = (model.transform.to_box(corner).float().to(model.device) for corner in triangles.box)
    points = lower + (upper - lower) * torch.rand(SCORED_POINTS, 3, generator=generator, device=model.device)
    inside = winding_number(true.bvh, points, backend=true.backend) > 0.5
    found = torch.cat([model.field.value(part) for part in points.split(CHUNK)]) < 0
    vertices = model.transform.to_box(mesh.vertices.double()).float().to(model.device)
    cut = DistancePoints(vertices, mesh.faces.to(model.device), true.backend)
    unit = model.transform.scale * triangles.diagonal
    there, back = (
        nearest_point(to.bvh, of.on_surface(SURFACE_POINTS, generator), backend=to.backend)[0] / unit
        for of, to in ((true, cut), (cut, true))
    )
    return dict(
        iou=((inside & found).sum() / (inside | found).sum()).item(),
        surface_error=(0.5 * (there.mean() + back.mean())).item(),
        surface_error_there=there.mean().item(),
        surface_error_back=back.mean().item(),
        surface_worst=torch.maximum(there.max(), back.max()).item(),
    )


def picture_of(model: DistanceModel, triangles: Triangles) -> Tensor:
    """[H, W, 3] uint8: the whole surface, from before it and above."""
    middle, radius = triangles.box.mean(0).float(), 0.5 * triangles.diagonal
    side, focal = PICTURE * SUPERSAMPLED, 2.2 * PICTURE * SUPERSAMPLED
    towards = torch.nn.functional.normalize(torch.tensor(VIEW), dim=0)
    eye = middle + 1.05 * radius * 2 * focal / side * towards
    camera = Camera(side, side, focal, focal, 0.5 * side, 0.5 * side)
    pose = look_at(eye, middle, up=LIGHT.up).to(model.device)
    rgb = model.render_image(camera, pose, light=LIGHT)["rgb"]
    small = torch.nn.functional.avg_pool2d(rgb.movedim(-1, 0), SUPERSAMPLED).movedim(0, -1)
    return (255 * small).round().byte()
