"""The field that a run trains, as its settings and its scene ask for it."""

from __future__ import annotations

import inspect

import torch

from nerfcore.data.scene import Scene
from nerfcore.errors import NerfcoreError
from nerfcore.fields import Field, field_named
from nerfcore.fields._around import FieldAround
from nerfcore.fields.backdrop import BackdropField
from nerfcore.fields.unbounded import UnboundedField
from nerfcore.training.config import TrainConfig
from nerfcore.training.extent import core_of, finest_resolution, is_contracted


def new_field(scene: Scene, config: TrainConfig) -> Field:
    """With parameters drawn by the seed. Raises NerfcoreError where settings fit neither one another nor the scene."""
    kind = field_named(config.field)
    if not issubclass(kind, Field):
        raise NerfcoreError(f"the field {config.field!r} is not of a scene, but of what else it is given")
    if issubclass(kind, FieldAround):
        raise NerfcoreError(
            f"the field {config.field!r} is made of another one; name that, "
            "with bounds contracted or background learned"
        )
    if config.background == "learned" and scene.has_alpha:
        raise NerfcoreError("photographs with alpha show nothing behind the scene; train with background random")
    has_end = config.box is not None or config.background != "random"
    bounds = "box" if config.bounds == "auto" and has_end else config.bounds
    core = core_of(scene) if is_contracted(scene, bounds) else None
    shape = constructor_arguments(kind, config, finest_resolution(scene, core))
    if core is not None:
        field = UnboundedField(config.field, shape, core.side, core.middle, core.near, backend=config.backend)
    elif config.background == "learned":
        field = BackdropField(config.field, shape, backend=config.backend)
    else:
        field = kind(**shape, backend=config.backend)
    if config.appearance == "code" and not field.code_features:
        raise NerfcoreError(f"the field {config.field!r} takes no code of appearances; choose exposure or affine")
    field.initialise(torch.Generator().manual_seed(config.seed))
    return field


def constructor_arguments(kind: type[Field], config: TrainConfig, finest: int) -> dict:
    """What a field takes of the settings. finest: cells along the box that photographs tell apart."""
    taken = inspect.signature(kind).parameters
    for name in ("table_storage", "precision"):
        if name not in taken and getattr(config, name) != "float32":
            raise NerfcoreError(f"the field {config.field!r} knows no {name}; leave that at float32")
    offered = dict(finest=finest, table_storage=config.table_storage, precision=config.precision)
    offered = {name: value for name, value in offered.items() if name in taken}
    return offered | kind.presets[config.preset] | config.field_config
