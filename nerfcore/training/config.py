"""What a training run needs to know: the same dataclass is the command's options, config.yaml and the model's
provenance."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from nerfcore.errors import NerfcoreError
from nerfcore.training.schedule import minutes_or_steps

Preset = Literal["fast", "default", "best"]
TableStorage = Literal["float32", "float16", "bfloat16"]
Refine = Literal["none", "poses", "cameras"]
Appearance = Literal["none", "exposure", "affine", "code"]
Precision = Literal["float32", "tf32", "bf16", "fp16"]
Bounds = Literal["auto", "box", "contracted"]
Behind = Literal["random", "white", "black", "learned"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run; every value that influences the result is here."""

    field: str = "ngp"  # the field to train
    minutes: float | None = None  # wall time from the start of loading; 5 if neither minutes nor steps are given
    steps: int | None = None  # number of steps, instead of minutes: repeatable to the bit
    downscale: int = 1  # K: photographs are reduced by a K x K box mean
    preset: Preset = "default"  # size of the field: fast is soonest fair, best is last to stop improving
    # where a scene ends: at its box, or nowhere; auto is contracted where opaque photos show what no box holds well,
    # and box where one is given
    bounds: Bounds = "auto"
    # world coordinates of the box's lower corner, then of its upper one; if not given, cameras and points tell
    box: tuple[float, float, float, float, float, float] | None = None
    scale: float = 1.0  # makes the box so many times as large, given or not
    # what lies behind a box: colours drawn anew in every step, before which only what is there can match photos, or the
    # plain one that photos of an object show; or a sphere that is learned, which contracted space has anyway
    background: Behind = "random"
    table_storage: TableStorage = "float32"  # what hash tables are read in; the parameters stay float32
    precision: Precision = "float32"  # what a GPU multiplies networks in; the parameters, and a CPU, stay float32
    refine: Refine = "none"  # what of the given cameras is corrected while training: poses, or intrinsics as well
    # how the colours of each photograph differ is learned: by its exposure, for cameras set to automatic, or by an
    # affine map and a fall-off to the edges, for changing light, white balance and vignettes as well; or by a code that
    # the field sees, for other light here than there: shadows, lamps, times of day
    appearance: Appearance = "none"
    depth_weight: float = 0.1  # of depth maps, where training views have them, beside the photographs; 0 = unused
    memory: float | None = None  # GiB for photographs, default half of what is free; more are drawn from a pool on disk
    pool: float = 8.0  # GiB that this pool, a file in the run folder, may take; it is renewed while training
    seed: int = 0  # of every random number
    # the same bits from the same seed and steps; slower on a GPU and with a pool, elsewhere they always are
    deterministic: bool = False
    device: str = "auto"
    backend: str = "auto"
    samples_per_step: int | None = None  # the number of rays follows; if not given, 2^14 on a CPU and 2^18 on a GPU
    learning_rate: float = 1.5e-2  # of the first step
    final_learning_rate: float = 3e-4  # of the last step
    min_rays: int = 512  # in early steps; fewer let a capture collapse to transparency
    occupancy_resolution: int = 128  # cells of the occupancy grid along each axis, per cascade
    # overrides of the preset, as the field's constructor takes them
    field_config: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "minutes", minutes_or_steps(self.minutes, self.steps, 5.0))
        choices = dict(
            preset=Preset, table_storage=TableStorage, precision=Precision, bounds=Bounds, background=Behind,
            refine=Refine, appearance=Appearance,
        )
        for name, kinds in ((name, get_args(kind)) for name, kind in choices.items()):
            if getattr(self, name) not in kinds:
                raise NerfcoreError(f"{name} must be one of {', '.join(kinds)}, got {getattr(self, name)!r}")
        if self.bounds == "contracted" and self.background not in ("random", "learned"):
            raise NerfcoreError(f"contracted space has its own sky; train before {self.background} with bounds box")
        if self.box is not None:
            object.__setattr__(self, "box", tuple(map(float, self.box)))
        if not self.depth_weight >= 0:
            raise NerfcoreError(f"depth_weight must be 0 or more, got {self.depth_weight}")
        for name in ("memory", "pool"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise NerfcoreError(f"{name} must be positive, got {value}")
        if self.downscale < 1:
            raise NerfcoreError(f"downscale must be 1 or more, got {self.downscale}")
