"""Fits an image field to a picture: Müller et al. 2022, section 5.1."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import imageio.v3 as iio
import torch
import yaml
from torch import Tensor

from nerfcore.data.tiles import DESCRIPTION, TiledPicture, TilePool, tile_picture
from nerfcore.errors import NerfcoreError
from nerfcore.fields.image import ImageField, half_bytes, image_shape
from nerfcore.files import write_file
from nerfcore.metrics import ssim
from nerfcore.metrics.image import WINDOW_TAPS
from nerfcore.ops._dispatch import use_kernel
from nerfcore.renderer.picture import PictureModel
from nerfcore.training.checkpoint import SCHEMA, load_model, restore, write_tensors
from nerfcore.training.loop import Progress, Training, begin, decibels, fit, pick_device
from nerfcore.training.optimizer import Adam
from nerfcore.training.schedule import cosine_decay, minutes_or_steps
from nerfcore.version import __version__

POINTS_PER_STEP = {"cpu": 1 << 15, "cuda": 1 << 18}
ENTRIES_PER_POINT = 128  # of the table, at most: updating one costs little beside a point only where many are met
MOST_PIXELS_SCORED = 1 << 24
LONGEST_SIDE_SHOWN = 4096


@dataclass(frozen=True)
class PictureConfig:
    """Settings of one run; every value that influences the result is here."""

    field: str = "image"
    minutes: float | None = None  # wall time from the start of reading; 1 if neither minutes nor steps are given
    steps: int | None = None  # number of steps, instead of minutes: repeatable to the bit
    size: float = 0.25  # of the parameters as they are saved, as a share of the picture's bytes, three a pixel, at most
    # points along each side of a pixel whose mean is compared with it; 1 takes a pixel for the colour at its centre,
    # more for a mean over its area, which is what cameras and reduced pictures have: enlargements are sharper
    footprint: int = 1
    memory: float = 0.25  # GiB for tiles that pixels are drawn from
    seed: int = 0  # of every random number
    device: str = "auto"
    backend: str = "auto"
    points_per_step: int | None = None  # if not given, 2^15 on a CPU, 2^18 on a GPU, more for large tables
    learning_rate: float = 1e-2  # of the first step
    final_learning_rate: float = 3e-4  # of the last step
    field_config: dict = dataclasses.field(default_factory=dict)  # overrides of what follows from the size

    def __post_init__(self):
        object.__setattr__(self, "minutes", minutes_or_steps(self.minutes, self.steps, 1.0))
        for name in ("size", "footprint", "memory", "points_per_step"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise NerfcoreError(f"{name} must be positive, got {value}")


class PictureTrainer(Training):
    """One run's state; ``step()`` is the whole method."""

    def __init__(self, picture: TiledPicture, config: PictureConfig, device: str = "cpu"):
        super().__init__(config, device)
        self.picture, self.points = picture, 0
        self.field = self._new_field()
        self.pool = TilePool(picture, int(config.memory * 2**30), self.generator, device)
        self.optimizer = Adam(self.field.named_parameters(), config.backend)
        base = POINTS_PER_STEP["cpu" if self.generator.device.type == "cpu" else "cuda"]
        enough = 1 << (self.field.levels.num_entries // ENTRIES_PER_POINT).bit_length()
        self.points_per_step = config.points_per_step or max(base, enough)

    def _new_field(self) -> ImageField:
        allowed = self.config.size * self.picture.nbytes
        shape = image_shape(self.picture.width, self.picture.height, allowed) | self.config.field_config
        if (needed := half_bytes(shape)) > allowed:
            raise NerfcoreError(
                f"a field of {needed} bytes is more than {self.config.size:g} of the picture's {self.picture.nbytes}; "
                f"allow more (size {needed / self.picture.nbytes:.2g})"
            )
        made = ImageField(**shape, backend=self.config.backend)
        made.initialise(torch.Generator().manual_seed(self.config.seed))
        return made.to(self.device)

    @property
    def trained(self):
        return self.field

    def counts(self):
        return {"samples_per_second": self.points}

    def shown(self):
        return {"psnr": decibels(self.loss)}

    def step(self) -> None:
        """Draws points of the picture, or pixels of which each is some, compares, and moves the parameters."""
        fraction, each = min(self.fraction, 1.0), self.config.footprint**2
        spread = point_spread(fraction) if each == 1 else 0.0
        x, truth = self.pool.draw(max(self.points_per_step // each, 1), spread)
        if each > 1:
            x = (x[:, None] + self._within_pixels(len(x))).flatten(0, 1)
        color = self.field.color(x).view(-1, each, 3).mean(1)
        loss = (color - truth).square().mean()
        names, parameters = zip(*self.field.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters)
        self.optimizer.begin_step(
            cosine_decay(fraction, self.steps, self.config.learning_rate, self.config.final_learning_rate)
        )
        self.optimizer.step(dict(zip(names, gradients, strict=True)))
        self.loss.copy_(loss.detach())
        self.steps += 1
        self.points += len(x)

    def memory_limit(self) -> dict[str, int]:
        """Bytes that training can need at most beside the program, by what for: tiles and those that replace them; the
        field with its gradient, its moments and the copy that is saved; one step, which keeps every intermediate."""
        widths = sum(sum(w.shape) for w in self.field.mlp)
        return {
            "tiles": (self.pool.count + 2 * self.pool.replaced) * self.picture.tile_bytes,
            "field": 5 * sum(p.nbytes for p in self.field.parameters()),
            "step": 2 * self.points_per_step * 4 * (64 + 3 * widths),
        }

    def _within_pixels(self, count: int) -> Tensor:
        """[count, footprint², 2]: from the centres of so many pixels to a random point of each of their equal parts."""
        side = self.config.footprint
        part = torch.cartesian_prod(*[torch.arange(side, device=self.device)] * 2)
        jitter = torch.rand(count, side * side, 2, generator=self.generator, device=self.device)
        size = torch.tensor([self.picture.width, self.picture.height], device=self.device)
        return ((part + jitter) / side - 0.5) / size

    def model(self, header: dict) -> PictureModel:
        """The field as it is now, ready to render and to be saved."""
        return PictureModel(self.field, self.picture.width, self.picture.height, self.config.footprint, header)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """All that :meth:`load_state` needs to go on; the pool fills itself anew."""
        tensors = {f"field.{k}": v for k, v in self.field.state_dict().items()} | self.optimizer.state()
        tensors["generator"] = self.generator.get_state()
        counters = dict(steps=self.steps, points=self.points, seconds=self.seconds)
        return tensors, dict(config=asdict(self.config), **counters)

    def load_state(self, tensors: dict[str, Tensor], description: dict) -> None:
        self.field.load_state_dict({k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")})
        self.optimizer.load_state(tensors, description["steps"])
        self.generator.set_state(tensors["generator"])
        self.steps, self.points = description["steps"], description["points"]
        self.seconds_used += description["seconds"]

    def close(self) -> None:
        """Ends the thread that reads tiles."""
        self.pool.close()


def point_spread(fraction: float) -> float:
    """How far from centres of pixels points are drawn, as a share of a pixel: anywhere at first, so that the field
    learns what is between them, and at the centres in the end, which are what the picture says."""
    return 1 - fraction


@dataclass
class PictureRun:
    """What :func:`train_picture` returns. metrics is empty if the run was interrupted before its evaluation."""

    model: PictureModel
    config: PictureConfig
    source: Path
    out: Path | None = None
    metrics: dict = dataclasses.field(default_factory=dict)
    history: list[dict] = dataclasses.field(default_factory=list)
    interrupted: bool = False


def train_picture(
    source: str | Path,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **settings,
) -> PictureRun:
    """Fits an image field to a picture and, if ``out`` is given, leaves a run folder there: ``config.yaml``,
    ``metrics.jsonl`` and ``.json``, ``model.nerf`` and ``picture.png``.

    source: a file that :func:`~nerfcore.data.tiles.tile_picture` reads, or a folder of tiles. settings: fields of
    :class:`PictureConfig`. resume: go on from the checkpoint in ``out``; minutes already spent count. on_progress is
    called about twice a second. Ctrl-C saves a checkpoint and returns with ``interrupted``.

    Raises SceneError, OutputError, ModelError, BackendError, NerfcoreError: one sentence each.
    """
    config = PictureConfig(**settings)
    device, tell, started = begin(config, on_progress)
    source, out = Path(source), Path(out) if out is not None else None
    if out is not None:
        settings = dict(picture=str(source.resolve()), **asdict(config))
        write_file(out / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    with tempfile.TemporaryDirectory(prefix=".tiles-", dir=out) as folder:
        is_tiled = (source / DESCRIPTION).is_file()
        picture = TiledPicture.open(source) if is_tiled else tile_picture(source, folder)
        trainer = PictureTrainer(picture, config, device)
        trainer.started = started
        run = PictureRun(trainer.model({}), config, source, out)
        memory_limit = sum(trainer.memory_limit().values())
        tell(Progress("ready", memory_limit=memory_limit))
        try:
            if resume:
                run.history = restore(trainer, out)
            fit(trainer, run.history, tell, None if out is None else partial(_save, trainer, run))
        except KeyboardInterrupt:
            run.interrupted = True
        finally:
            trainer.close()
        trainer.check_finite()
        train_seconds = trainer.seconds
        tell(Progress("saving", trainer.steps, 1.0, train_seconds))
        tensors, description = trainer.model(_provenance(trainer, run)).state()
        run.model = PictureModel.from_state(tensors, description, device, config.backend)  # what is saved is scored
        if out is not None:
            _save(trainer, run)
        if run.interrupted:
            return run
        tell(Progress("evaluating", trainer.steps, 1.0, train_seconds))
        parameter_bytes = sum(value.nbytes for value in tensors.values())
        run.metrics = dict(
            schema=SCHEMA,
            **score_picture(run.model, picture),
            num_eval_images=1,
            width=picture.width,
            height=picture.height,
            parameter_bytes=parameter_bytes,
            share_of_pixel_bytes=parameter_bytes / picture.nbytes,
            steps=trainer.steps,
            train_seconds=train_seconds,
            points_per_second=trainer.points / train_seconds,
            device=device,
            backend=device if use_kernel(config.backend, trainer.field.table) else "reference",
            memory_limit_bytes=memory_limit,
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            seed=config.seed,
            version=__version__,
            picture=source.name,
        )
    run.history.append(run.metrics | dict(seconds=train_seconds, step=trainer.steps))
    if out is not None:
        write_file(out / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in run.history))
        write_file(out / "metrics.json", json.dumps(run.metrics, indent=1))
        write_file(out / "picture.png", iio.imwrite("<bytes>", show(run.model).numpy(), extension=".png"))
    return run


def load_picture(path: str | Path, device: str = "auto", backend: str = "auto") -> PictureModel:
    """Loads the ``model.nerf`` of a picture, or the one in a run folder. Raises ModelError for a missing, damaged or
    newer file, and for one that holds another kind of field."""

    def made(tensors: dict[str, Tensor], description: dict) -> PictureModel:
        return PictureModel.from_state(tensors, description, pick_device(device), backend)

    return load_model(path, made)


def score_picture(model: PictureModel, picture: TiledPicture) -> dict[str, float]:
    """PSNR over all pixels, and SSIM as the mean over the tiles, in sRGB; of a picture of more than 2^24 pixels those
    of about as many in tiles that are evenly spread."""
    width, height, size = picture.tile_width, picture.tile_height, (picture.width, picture.height)
    scored = range(0, picture.num_tiles, max(picture.num_tiles * width * height // MOST_PIXELS_SCORED, 1))
    square, similarity = [], []
    for number in scored:
        top, left = picture.origin(number)
        corners = (left, top), (left + width, top + height)
        box = tuple(at / whole for corner in corners for at, whole in zip(corner, size, strict=True))
        truth = torch.from_numpy(picture.pixels(number).copy()).float() / 255
        found = model.render(width, height, box)
        square.append((found.double() - truth).square().mean().item())
        if min(width, height) >= WINDOW_TAPS:
            similarity.append(ssim(found, truth))
    error = mean(square)
    return dict(
        psnr=-10 * math.log10(error) if error else math.inf,
        ssim=mean(similarity) if similarity else math.nan,
        pixels_scored=len(scored) * width * height,
    )


def show(model: PictureModel) -> Tensor:
    """uint8 [H, W, 3]: the whole picture, reduced to 4096 pixels on its longer side if it has more."""
    reduced = min(1.0, LONGEST_SIDE_SHOWN / max(model.width, model.height))
    width, height = max(round(model.width * reduced), 1), max(round(model.height * reduced), 1)
    return (model.render(width, height) * 255).round().byte()


def _save(trainer: PictureTrainer, run: PictureRun) -> None:
    tensors, description = trainer.state()
    write_tensors(run.out / "checkpoint" / "state.nerf", tensors, dict(**description, history=run.history))
    write_tensors(run.out / "model.nerf", *trainer.model(_provenance(trainer, run)).state())


def _provenance(trainer: PictureTrainer, run: PictureRun) -> dict:
    return dict(
        version=__version__,
        torch=torch.__version__,
        picture=run.source.name,
        config=asdict(run.config),
        steps=trainer.steps,
        train_seconds=trainer.seconds,
    )
