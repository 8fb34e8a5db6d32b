"""A trained field with all that rendering it needs: no data set, no path."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.rays import camera_rays
from nerfcore.data.scene import SceneTransform
from nerfcore.errors import NerfcoreError
from nerfcore.fields import Field, field_named
from nerfcore.renderer.occupancy import OccupancyGrid
from nerfcore.renderer.volume import SHOWS, SPENT, Marching, in_appearance, render_rays
from nerfcore.types import Rays, Render

RAYS_PER_CHUNK = 1 << 18
MODULAR_RAYS = {"cpu": 1 << 13, "cuda": 1 << 17}  # features of their first pass stay in cache, or fill the device
POINTS_PER_CHUNK = 1 << 16
BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}


class Model:
    """What training leaves behind and ``model.nerf`` holds. All inputs and outputs are in the user's world.

    transform: the similarity from the world to the box; cameras: (name, Camera, pose) of the training views;
    header: provenance (version, scene, seed, …), JSON-able. codes [N, K]: of the appearances of the training views,
    where these were learned; code [K]: of the one in which pictures show the field, None for the mean, see
    :meth:`as_in`.
    """

    def __init__(
        self,
        field: Field,
        occupancy: OccupancyGrid,
        marching: Marching,
        transform: SceneTransform,
        cameras: list[tuple[str, Camera, Tensor]],
        header: dict,
        backend: str = "auto",
        codes: Tensor | None = None,
        code: Tensor | None = None,
    ):
        self.field, self.occupancy, self.marching, self.transform = field, occupancy, marching, transform
        self.cameras, self.header, self.backend = cameras, header, backend
        self.codes, self.code = codes, code

    def in_appearance(self, code: Tensor | None) -> Model:
        """The same field, shown in the appearance of a code [K], or in the mean one."""
        same = self.field, self.occupancy, self.marching, self.transform, self.cameras, self.header, self.backend
        return Model(*same, self.codes, code)

    def as_in(self, name: str) -> Model:
        """The same field, shown in the light and the colours of the training photograph of this name. Raises
        NerfcoreError where there is no such photograph, or no appearance was learned."""
        if self.codes is None:
            raise NerfcoreError("the model knows no appearances of photographs; train it with --appearance code")
        names = [given for given, _, _ in self.cameras]
        if name not in names:
            raise NerfcoreError(f"no training photograph is called {name!r}; there are {', '.join(names[:5])}, …")
        return self.in_appearance(self.codes[names.index(name)])

    @property
    def device(self) -> torch.device:
        return self.occupancy.bits.device

    @property
    def world_box(self) -> Tensor:
        """[2, 3]: lower and upper corner of the box, in world coordinates."""
        return self.transform.world_box

    def render(
        self, rays: Rays, background: str | tuple[float, float, float] = "white", normals: bool = False
    ) -> Render:
        """Renders any world rays, in chunks and without gradients, over the stated background ("white", "black" or
        RGB), which a field that has a sky covers by it."""
        color = torch.tensor(background_rgb(background), device=self.device)
        parts = []
        for start in range(0, max(len(rays), 1), RAYS_PER_CHUNK):
            chunk = rays[start : start + RAYS_PER_CHUNK].to(self.device)
            origin = self.transform.to_box(chunk.origin)
            rgb, opacity, distance, median, normal = self._render_rays(origin, chunk.direction, chunk.spread, normals)
            distance = torch.where(opacity > 0, distance / opacity.clamp(min=1e-10), 0) / self.transform.scale
            spent = opacity > 1 - SPENT  # what a spent ray meets no more looks like what it met
            rgb, opacity = torch.where(spent[:, None], rgb / opacity[:, None], rgb), torch.where(spent, 1.0, opacity)
            behind = self._sky(chunk.direction) if self.field.has_sky else color
            rgb = rgb + (1 - opacity[:, None]) * behind
            median = median / self.transform.scale
            parts.append((rgb, opacity, distance, distance * chunk.z_scale, normal, median))
        return Render(*_concatenate(parts))

    @torch.no_grad()
    def _render_rays(
        self, origin: Tensor, direction: Tensor, spread: Tensor, normals: bool
    ) -> tuple[Tensor | None, ...]:
        lattice = self.marching.lattice(self.occupancy)
        fuses = not normals and self.code is None
        if fuses and (fused := self.field.fused_render(origin, direction, lattice, SHOWS, SPENT)) is not None:
            return *fused, None
        num_rays = MODULAR_RAYS[origin.device.type]
        parts = [
            render_rays(self.field, o, d, lattice, normals, self.backend, s, self._code_of(o))
            for o, d, s in zip(*(of_rays.split(num_rays) for of_rays in (origin, direction, spread)), strict=True)
        ]
        return _concatenate(parts)

    @torch.no_grad()
    def _sky(self, direction: Tensor) -> Tensor:
        parts = direction.split(MODULAR_RAYS[direction.device.type])
        return torch.cat([self.field.sky(part, **in_appearance(self._code_of(part))) for part in parts])

    def _code_of(self, rows: Tensor) -> Tensor | None:
        """The appearance's code for so many rows [N, ...]."""
        return None if self.code is None else self.code.to(rows).expand(len(rows), -1)

    def render_image(
        self,
        camera: Camera,
        pose: Tensor,
        background: str | tuple[float, float, float] = "white",
        normals: bool = False,
    ) -> dict[str, Tensor]:
        """The picture of a camera: rgb [H, W, 3], opacity, distance, median_distance, z_depth [H, W] and, if asked for,
        normal [H, W, 3]. Outside the image circle of a fisheye lens there is background and 0."""
        pixel = camera.pixel_centres(pose.device)
        covered = camera.covers(pixel)
        whole_frame = bool(covered.all())
        render = self.render(camera_rays(camera, pose, pixel if whole_frame else pixel[covered]), background, normals)
        image = {}
        for name, value in vars(render).items():
            if value is None:
                continue
            whole = value.cpu()
            if not whole_frame:
                blank = torch.tensor(background_rgb(background)) if name == "rgb" else torch.zeros(value.shape[1:])
                whole = blank.repeat(len(pixel), *[1] * blank.ndim)
                whole[covered.cpu()] = value.cpu()
            image[name] = whole.reshape(camera.height, camera.width, *value.shape[1:])
        return image

    @torch.no_grad()
    def density(self, points: Tensor) -> Tensor:
        """Density [N] per world unit at world points [N, 3]; of a bounded field 0 outside the box and in cells found
        empty."""
        out = points.new_zeros(len(points))
        for part in _chunks(len(points)):
            x = self.transform.to_box(points[part]).to(self.device)
            there = torch.ones_like(x[:, 0], dtype=torch.bool)
            if self.field.bounded:
                there = ((x >= 0) & (x <= 1)).all(-1)
            if self.field.marches:
                there &= self.occupancy.occupied(x)
            inside = torch.nonzero(there).squeeze(1)
            out[part][inside.to(out.device)] = self.field.sigma(x[inside]).to(out) * self.transform.scale
        return out

    @torch.no_grad()
    def color(self, points: Tensor, direction: Tensor) -> Tensor:
        """Colour [N, 3] of world points [N, 3] seen along unit directions [N, 3]."""
        out = torch.empty_like(points)
        for part in _chunks(len(points)):
            _, embedding = self.field.density(self.transform.to_box(points[part]).to(self.device))
            of_points = in_appearance(self._code_of(embedding))
            out[part] = self.field.color(embedding, direction[part].to(self.device), **of_points).to(out)
        return out

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Tensors and JSON-able description that :meth:`from_state` rebuilds the model from."""
        tensors = {f"field.{k}": v for k, v in self.field.state_dict().items()} | {
            "occupancy.bits": self.occupancy.bits
        }
        tensors |= {} if self.codes is None else {"appearance.codes": self.codes}
        tensors["camera.poses"] = torch.zeros(len(self.cameras), 3, 4)
        for target, (_, _, pose) in zip(tensors["camera.poses"], self.cameras, strict=True):
            target.copy_(pose)
        description = dict(
            field=self.field.name,
            field_config=self.field.config,
            marching=asdict(self.marching),
            occupancy=dict(resolution=self.occupancy.resolution, cascades=self.occupancy.cascades),
            transform=asdict(self.transform),
            cameras=[dict(name=n, **c.description()) for n, c, _ in self.cameras],
            header=self.header,
        )
        return tensors, description

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], description: dict, device="cpu", backend: str = "auto") -> Model:
        """Inverse of :meth:`state`."""
        field = field_named(description["field"])(**description["field_config"], backend=backend)
        field.load_state_dict({k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")})
        marching = Marching(**description["marching"])
        occupancy = OccupancyGrid(**description["occupancy"], step=marching.step, device=device, backend=backend)
        occupancy.bits = tensors["occupancy.bits"].to(device)
        views = [
            (c.pop("name"), Camera.from_description(c), pose)
            for c, pose in zip(map(dict, description["cameras"]), tensors["camera.poses"], strict=True)
        ]
        scale, translation = description["transform"]["scale"], tuple(description["transform"]["translation"])
        return cls(
            field.to(device),
            occupancy,
            marching,
            SceneTransform(scale, translation),
            views,
            description["header"],
            backend,
            tensors.get("appearance.codes"),
        )


def background_rgb(background: str | tuple[float, float, float]) -> tuple[float, float, float]:
    """A named or given background as RGB in [0, 1]."""
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise ValueError(f"background must be {', '.join(BACKGROUNDS)} or an RGB triple, got {background!r}")
        return BACKGROUNDS[background]
    return tuple(background)


def _concatenate(parts: list[tuple[Tensor | None, ...]]) -> list[Tensor | None]:
    """Value by value; what is None in one part is None in all."""
    return [None if values[0] is None else torch.cat(values) for values in zip(*parts, strict=True)]


def _chunks(n: int):
    return [slice(i, min(i + POINTS_PER_CHUNK, n)) for i in range(0, n, POINTS_PER_CHUNK)]
