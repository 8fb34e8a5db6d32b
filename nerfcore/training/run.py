"""A training run from a scene to a run folder."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
import yaml

from nerfcore import _extension
from nerfcore.data import load_scene
from nerfcore.data.build import memory_for_photographs
from nerfcore.data.scene import Scene
from nerfcore.errors import ModelError, OutputError, SceneError
from nerfcore.files import write_file
from nerfcore.renderer.model import Model
from nerfcore.training.checkpoint import SCHEMA, load_model, restore, write_tensors
from nerfcore.training.config import TrainConfig
from nerfcore.training.evaluate import evaluate
from nerfcore.training.loop import Progress, begin, fit, pick_device
from nerfcore.training.report import write_report
from nerfcore.training.trainer import Trainer
from nerfcore.types import Rays, Render
from nerfcore.version import __version__


@dataclass
class Run:
    """What :func:`train` returns. metrics is empty if the run was interrupted before its evaluation."""

    model: Model
    config: TrainConfig
    out: Path | None = None
    metrics: dict = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    interrupted: bool = False

    def render(self, rays: Rays, background: str = "white", normals: bool = False) -> Render:
        """See :meth:`nerfcore.renderer.model.Model.render`."""
        return self.model.render(rays, background, normals)


def train(
    scene: Scene | str | Path | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    before_step: Callable[[Trainer], None] | None = None,
    **settings,
) -> Run:
    """Fits a field to a scene and, if ``out`` is given, leaves a run folder there.

    scene: a loaded scene, a folder, or None for the built-in one. settings: fields of
    :class:`~nerfcore.training.config.TrainConfig`, such as ``minutes`` or ``steps`` (default 5 minutes),
    ``downscale``, ``preset``, ``seed``, ``device``, ``backend``. resume: go on from the checkpoint in ``out``; minutes
    already spent count.
    on_progress is called about twice a second; before_step before each step, when the field may be looked at. Ctrl-C
    saves a checkpoint and returns with ``interrupted``.

    Raises SceneError, OutputError, ModelError, BackendError: one sentence each.
    """
    config = TrainConfig(**settings)
    device, tell, started = begin(config, on_progress)
    out = Path(out) if out is not None else None
    source = scene.root if isinstance(scene, Scene) else scene
    if not isinstance(scene, Scene):
        memory = memory_for_photographs(device) if config.memory is None else config.memory * 2**30
        scene = load_scene(scene, config.downscale, memory=memory, depth_maps=config.depth_weight > 0)
    scene = scene.within(config.box, config.scale)
    trainer = Trainer(scene, config, device, out)
    trainer.started = started
    run = Run(trainer.model({}), config, out)
    memory_limit = sum(trainer.memory_limit().values())
    ready = time.perf_counter()
    tell(Progress("ready", memory_limit=memory_limit, pool_bytes=trainer.pixels.pool_bytes))
    try:
        if resume:
            run.history = restore(trainer, out)
        if out is not None:
            source = None if source is None else str(Path(source).resolve())
            write_file(out / "config.yaml", yaml.safe_dump(dict(scene=source, **asdict(config)), sort_keys=False))
        fit(
            trainer, run.history, tell, None if out is None else partial(_checkpoint, trainer, run),
            before_step and partial(before_step, trainer),
        )
    except KeyboardInterrupt:
        run.interrupted = True
    except (OutputError, SceneError):  # a pool that the disk has no room for any more; a broken photograph
        trainer.close()
        if out is not None and trainer.steps:
            _save(trainer, run)
        raise
    finally:
        trainer.close()
    trainer.check_finite()
    train_seconds, trained = trainer.seconds, time.perf_counter()
    run.model = trainer.model(_provenance(scene, config, trainer))
    if out is not None:
        tell(Progress("saving", trainer.steps, 1.0, train_seconds))
        _save(trainer, run)
    if run.interrupted:
        return run
    saved = time.perf_counter()
    tell(Progress("evaluating", trainer.steps, 1.0, train_seconds))
    evaluation = evaluate(run.model, scene)
    timeline = {"earlier": trainer.seconds_used} if trainer.seconds_used else {}
    timeline |= {"loading": ready - started, "training": trained - ready, "saving": saved - trained}
    timeline["evaluating"] = time.perf_counter() - saved
    run.metrics = dict(
        schema=SCHEMA,
        **evaluation.metrics,
        **({} if trainer.cameras is None else dict(camera_changes=trainer.cameras.changes())),
        steps=trainer.steps,
        train_seconds=train_seconds,
        timeline=timeline,
        rays_per_second=trainer.rays / train_seconds,
        samples_per_second=trainer.samples / train_seconds,
        device=device,
        backend=_backend_used(config, device),
        memory_limit_bytes=memory_limit,
        pool_bytes=trainer.pixels.pool_bytes,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        seed=config.seed,
        version=__version__,
        scene=scene.name,
        split=scene.split_rule,
    )
    of_images = "per_image", "camera_changes"
    run.history.append(
        {k: v for k, v in run.metrics.items() if k not in of_images} | dict(seconds=train_seconds, step=trainer.steps)
    )
    if out is not None:
        write_file(out / "metrics.jsonl", "".join(json.dumps(h) + "\n" for h in run.history))
        write_file(out / "metrics.json", json.dumps(run.metrics, indent=1))
        shown = dict(scene=scene.name, **asdict(config))
        pictures = evaluation.pictures, evaluation.floaters
        write_report(out / "report.html", shown, run.metrics, run.history, *pictures)
    return run


OF_NO_SCENE = {"image": "nerfcore.training.picture.load_picture", "sdf": "nerfcore.applications.distance.load_distance"}
"""What loads the models of fields that are not of a scene."""


def load(path: str | Path, device: str = "auto", backend: str = "auto") -> Model:
    """Loads a ``model.nerf``, or the one in a run folder. It needs no data set: ``load(path).render(rays)``.

    Raises ModelError for a missing, damaged or newer file, and for the model of a picture or of a mesh, which others
    load.
    """

    def made(tensors: dict[str, torch.Tensor], description: dict) -> Model:
        if (name := description.get("field")) in OF_NO_SCENE:
            raise ModelError(f"{path} is not of a scene, its field is {name!r}; load it by {OF_NO_SCENE[name]}")
        return Model.from_state(tensors, description, pick_device(device), backend)

    return load_model(path, made)


def _checkpoint(trainer: Trainer, run: Run) -> None:
    run.history.append(dict(step=trainer.steps, seconds=trainer.seconds, checkpoint=True))
    _save(trainer, run)


def _save(trainer: Trainer, run: Run) -> None:
    tensors, description = trainer.state()
    write_tensors(run.out / "checkpoint" / "state.nerf", tensors, dict(**description, history=run.history))
    model = trainer.model(_provenance(trainer.scene, trainer.config, trainer))
    write_tensors(run.out / "model.nerf", *model.state())


def _provenance(scene: Scene, config: TrainConfig, trainer: Trainer) -> dict:
    return dict(
        version=__version__,
        torch=torch.__version__,
        scene=scene.name,
        split=scene.split_rule,
        config=asdict(config),
        steps=trainer.steps,
        train_seconds=trainer.seconds,
    )


def _backend_used(config: TrainConfig, device: str) -> str:
    if config.backend != "auto":
        return config.backend
    return "reference" if _extension.unavailable(device) else device
