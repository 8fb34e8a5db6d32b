"""Options that several subcommands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

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
