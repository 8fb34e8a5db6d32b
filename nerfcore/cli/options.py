"""Options that several subcommands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from nerfcore.errors import SceneError

INTERRUPTED = 130  # exit status: what shells report for a program that Ctrl-C ended

Device = Literal["auto", "cpu", "cuda"]
Backend = Literal["auto", "reference", "cpu", "cuda"]
Background = Literal["white", "black"]
LensName = Literal["perspective", "fisheye", "equirectangular", "orthographic"]
Trajectory = Literal["orbit", "spiral", "cameras"]
ScenePath = Annotated[Path | None, arg(metavar="[SCENE]")]


@dataclass
class UsesModel:
    """A trained model, and what it runs on."""

    model: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder, or a model.nerf."""

    def folder(self) -> Path:
        """The run folder."""
        return self.model if self.model.is_dir() else self.model.parent


@dataclass(kw_only=True)
class Hardware:
    """What a subcommand computes on."""

    device: Device = "auto"
    """Where tensors live; auto takes the GPU if there is one."""
    backend: Backend = "auto"
    """Which implementation of the operations runs; auto takes the compiled kernels if they can be built."""


@dataclass(kw_only=True)
class Serves:
    """Where the viewer listens."""

    host: str = "127.0.0.1"
    """Address that the viewer listens at; 0.0.0.0 lets other machines in, and nothing asks them who they are."""
    port: int = 8080
    """Port of the viewer; if it is taken, one of the next."""


def words_given(command, *without: str) -> list[str]:
    """The options of a command line that are not what they are by default, but for those of these names."""
    words = []
    for field in fields(command):
        value = getattr(command, field.name)
        if field.name not in without and value not in (field.default, None):
            values = [] if value is True else value if isinstance(value, tuple) else [value]
            words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
    return words


def scene_of_run(folder: Path) -> Path | None:
    """The scene that config.yaml in a run folder names; None is the built-in one."""
    import yaml

    file = folder / "config.yaml"
    try:
        scene = yaml.safe_load(file.read_text())["scene"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SceneError(f"{file}: does not tell the model's scene; give its folder after the model") from error
    return None if scene is None else Path(scene)
