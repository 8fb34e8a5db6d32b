"""Endless procedural objects with captions: small still lifes of one to three solids, drawn by sphere tracing.

The first object of a scene stands in the middle of the world, z up, and the others beside it. "left of", "in front of"
and so on are as the camera of a scene's first view sees them, which looks from about -y and from above: its azimuth is
within 15 degrees of that. From other sides the captions hold but for the arrangement. The first object is the one
nearest to the middle of the picture, so a picture tells which object its caption begins with.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nerfcore._extension import cache_dir
from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import look_at
from nerfcore.data.examples import Examples
from nerfcore.errors import OutputError, SceneError
from nerfcore.files import write_file
from nerfcore.synthetic import primitives, tracer
from nerfcore.synthetic.primitives import box, capsule, cone, difference, intersection, sphere, torus, union

SIZES = (16, 32, 64, 128)
TRACED = 64  # pixels along each side of a picture that is traced, or more; smaller ones are box means
DEFAULT_COUNT = {"train": 8000, "test": 2000}
FIRST = {"train": 0, "test": 1 << 40}  # index of each split's first object
BOX = (-2.6, -2.6, -2.6), (2.6, 2.6, 2.6)  # corners of what holds any scene, world units

COLOURS = {  # linear
    "red": (0.70, 0.02, 0.03), "orange": (0.90, 0.24, 0.01), "yellow": (0.85, 0.68, 0.02), "green": (0.03, 0.34, 0.05),
    "cyan": (0.05, 0.62, 0.66), "blue": (0.02, 0.07, 0.62), "purple": (0.20, 0.03, 0.45), "pink": (0.90, 0.28, 0.45),
}
RADII = {"small": 0.42, "large": 0.65}
MATERIALS = ("matte", "shiny")
RELATIONS = {  # where the second object is, seen from the first
    "left of": (1.0, 0.0, 0.0), "right of": (-1.0, 0.0, 0.0), "on top of": (0.0, 0.0, -1.0),
    "behind": (0.0, -1.0, 0.0), "in front of": (0.0, 1.0, 0.0),
}
GAP = 0.12  # between objects beside one another, world units

BACKGROUND = 0.86  # sRGB value of its light grey
LIGHT, AMBIENT, LAMBERT = (-0.40, -0.25, 0.88), 0.26, 0.84  # towards the light; shares of albedo
HIGHLIGHT, SHININESS, SHEEN = 0.9, 24.0, 0.16  # of shiny things: of the light, its exponent, and of the sky
CAMERA_DISTANCE, HALF_VIEW = 7.0, 1.55  # world units; the latter reaches the border of the picture at that distance
TOWARDS_OTHERS = 0.3  # how far the camera's target lies from the first object on the way to the others
HIT = 1e-3  # a ray this near to a surface has hit it, in radii: less than a fiftieth of a pixel
MOST_STEPS = 64
BATCH = 128  # pictures traced together: more take more memory and no less time


@dataclass(frozen=True)
class Kind:
    """A solid by its distance in units of its radius: points [N, 3] and a proportion in [-1, 1] each to [N]. reach: of
    a sphere about the origin that holds it; up, down: how far it extends along z."""

    distance: Callable[[Tensor, Tensor], Tensor]
    reach: float
    up: float
    down: float


def _cube(p: Tensor) -> Tensor:
    return box(p, (0.62,) * 3) - 0.12  # its edges are round, so that shiny ones gleam


def _bitten(p: Tensor, u: Tensor) -> Tensor:
    return difference(_cube(p), sphere(p - p.new_tensor((-0.74, -0.20, 0.74)), 0.80 + 0.06 * u))


def _bowl(p: Tensor, u: Tensor) -> Tensor:
    p = p - p.new_tensor((0.0, 0.0, 0.45))
    half = intersection(sphere(p, 0.98), p[..., 2])
    return difference(half, sphere(p, 0.76 + 0.05 * u))


def _snowman(p: Tensor, u: Tensor) -> Tensor:
    body, head = sphere(p + p.new_tensor((0.0, 0.0, 0.38)), 0.62), 0.42 + 0.03 * u
    return union(body, sphere(p - p.new_tensor((0.0, 0.0, 0.52)), head))


KINDS = {
    "sphere": Kind(lambda p, u: sphere(p, 0.92), 0.92, 0.92, 0.92),
    "cube": Kind(lambda p, u: _cube(p), 1.20, 0.74, 0.74),
    "torus": Kind(lambda p, u: torus(p, 0.76 - 0.03 * u, 0.23 + 0.03 * u), 1.0, 0.23, 0.23),
    "cone": Kind(lambda p, u: cone(p, 0.85 + 0.08 * u, 0.90), 1.30, 0.90, 0.90),
    "capsule": Kind(lambda p, u: capsule(p, 0.62 - 0.05 * u, 0.40 + 0.05 * u), 1.02, 1.02, 1.02),
    "bowl": Kind(_bowl, 1.08, 0.45, 0.53),
    "snowman": Kind(_snowman, 1.0, 0.94, 1.0),
    "bitten cube": Kind(_bitten, 1.20, 0.74, 0.74),
}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": tuple(KINDS),
    "colour": tuple(COLOURS),
    "size": tuple(RADII),
    "material": MATERIALS,
    "arrangement": ("alone", *RELATIONS),
}
"""Of the first object; its arrangement is that to the second one."""


@dataclass(frozen=True)
class Thing:
    """One object. centre, radius: world units. yaw: radians about z. proportion: see :class:`Kind`."""

    shape: str
    colour: str
    size: str
    material: str
    centre: tuple[float, float, float]
    radius: float
    yaw: float
    proportion: float


@dataclass(frozen=True)
class StillLife:
    """things: the first in the middle; relations: of the first to each of the others."""

    things: tuple[Thing, ...]
    relations: tuple[str, ...]
    caption: str

    def attribute(self, name: str) -> str:
        """One of ``ATTRIBUTES[name]``."""
        if name == "arrangement":
            return self.relations[0] if self.relations else "alone"
        return getattr(self.things[0], name)


@dataclass(frozen=True)
class Views:
    """pictures [B, 3, size, size] uint8; distance along the rays and z_depth along the camera's axis [B, size, size],
    world units, of the nearest surface within each pixel, 0 where there is none."""

    pictures: Tensor
    distance: Tensor
    z_depth: Tensor


class Shapes:
    """The scenes of a seed. Scene ``index``, from 0 on, is the same whichever others are asked for, and so are its
    pictures, to float32's rounding."""

    def __init__(self, seed: int = 0):
        self.seed = seed

    def scene(self, index: int) -> StillLife:
        """What stands where, and the sentence that says so."""
        draws = iter(_uniforms(self.seed, index, 0, 40))

        def pick(options):
            options = tuple(options)
            return options[int(next(draws) * len(options))]

        number = pick((1, 1, 1, 2, 2, 3))
        relations: list[str] = []
        beside, others = ("left of", "right of"), ("on top of", "behind", "in front of")
        for _ in range(number - 1):  # two others are on different axes, neither before the other
            free = tuple(RELATIONS) if not relations else others if relations[0] in beside else beside
            relations.append(pick(free))
        things, phrases = [], []
        for relation in (None, *relations):
            shape, colour, size, material = (pick(ATTRIBUTES[name]) for name in ("shape", "colour", "size", "material"))
            radius = RADII[size] * (0.96 + 0.08 * next(draws))
            yaw, proportion = math.radians(60 * next(draws) - 30), 2 * next(draws) - 1
            centre = (0.0, 0.0, 0.0)
            if relation is not None:
                first, direction = things[0], RELATIONS[relation]
                apart = first.radius + radius + GAP
                if relation == "on top of":
                    apart = KINDS[first.shape].down * first.radius + KINDS[shape].up * radius
                centre = tuple(apart * along for along in direction)
            words = [size if relation is None else pick((size, "")), pick((material, "")), colour, shape]
            phrases.append(" ".join(word for word in words if word))
            things.append(Thing(shape, colour, size, material, centre, radius, yaw, proportion))
        clauses = [f"{relation} {_article(phrase)}" for relation, phrase in zip(relations, phrases[1:], strict=True)]
        caption = " ".join([_article(phrases[0]), " and ".join(clauses)]).strip()
        return StillLife(tuple(things), tuple(relations), caption)

    def poses(self, indices: Sequence[int], view: int = 0) -> Tensor:
        """[B, 3, 4], camera to world. View 0 is the one that captions are of; others look from any side."""
        draws = torch.tensor([_uniforms(self.seed, index, 1 + view, 2) for index in indices])
        scale, offset = ((30, 8), (-15, 38)) if view == 0 else ((360, 40), (0, 20))  # degrees
        azimuth, elevation = (draws * torch.tensor(scale) + torch.tensor(offset)).deg2rad().unbind(1)
        centres = [torch.tensor([thing.centre for thing in self.scene(index).things]).sum(0) for index in indices]
        target, level = TOWARDS_OTHERS * torch.stack(centres), elevation.cos()
        towards = torch.stack((level * azimuth.sin(), -level * azimuth.cos(), elevation.sin()), 1)
        return look_at(target + CAMERA_DISTANCE * towards, target)

    def signed_distance(self, index: int) -> Callable[[Tensor], Tensor]:
        """Of a scene, see :func:`distance_to`."""
        return distance_to(self.scene(index).things)

    @torch.no_grad()
    def render(
        self, indices: Sequence[int], poses: Tensor | None = None, size: int = 64, camera: Camera | None = None
    ) -> Views:
        """A view of each scene. poses [B, 3, 4]; without them, view 0 of each. size: 16, 32, 64 or 128; pictures below
        64 are means over blocks of the pixels of 64. camera: of pictures of 64 x 64 pixels, or of 128 x 128, the
        default one if it is not given. Not differentiable."""
        if size not in SIZES:
            raise SceneError(f"shapes cannot be drawn with {size} pixels a side; choose {', '.join(map(str, SIZES))}")
        side = max(size, TRACED)
        camera = camera or default_camera(side)
        if (camera.width, camera.height) != (side, side):
            raise ValueError(f"camera must be of {side} x {side} pixels, got {camera.width} x {camera.height}")
        poses = self.poses(indices) if poses is None else poses.float()
        if poses.shape != (len(indices), 3, 4):
            raise ValueError(f"poses must be [{len(indices)}, 3, 4], one for each index, got {list(poses.shape)}")
        origin, direction = camera.unproject(camera.pixel_centres())
        parts = []
        for first in range(0, len(indices), BATCH):
            pose = poses[first : first + BATCH].transpose(0, 1)  # [3, B, 4]
            rays, starts = pose[:, :, :3] @ direction.T, pose[:, :, :3] @ origin.T + pose[:, :, 3:]
            scenes = [self.scene(index).things for index in indices[first : first + BATCH]]
            rgb, distance = _trace(scenes, starts, rays)
            rgb, ways = (
                values.view(-1, len(scenes), side, side)
                for values in (rgb, torch.stack((distance, distance * -direction[:, 2])))
            )
            rgb, ways = F.avg_pool2d(rgb, side // size), -F.max_pool2d(-ways, side // size)
            pictures = (255 * rgb).round().byte().transpose(0, 1).contiguous()
            parts.append((pictures, *torch.where(ways.isfinite(), ways, 0)))
        return Views(*map(torch.cat, zip(*parts, strict=True)))


def distance_to(things: Sequence[Thing]) -> Callable[[Tensor], Tensor]:
    """The signed distance of what stands in a scene, or in a part of it: world points [N, 3] to [N], differentiable.
    :func:`nerfcore.mesh.level_set.extract_level_set` makes a mesh of it within ``BOX``."""

    def distance(points: Tensor) -> Tensor:
        parts = []
        for thing in things:
            yaw, proportion = points.new_tensor([thing.yaw]), points.new_tensor([thing.proportion])
            local = _turned((points - points.new_tensor(thing.centre)).T, yaw).T / thing.radius
            parts.append(KINDS[thing.shape].distance(local, proportion) * thing.radius)
        return torch.stack(parts).amin(0)

    return distance


def default_camera(side: int = TRACED) -> Camera:
    """Of pictures with so many pixels along each side."""
    focal = 0.5 * side * CAMERA_DISTANCE / HALF_VIEW
    return Camera(side, side, focal, focal, side / 2, side / 2)


def shapes_examples(
    split: str = "train", size: int = 32, count: int | None = None, views: int = 1, seed: int = 0,
    cache: Path | None = None,
) -> Examples:
    """Pictures of ``count`` scenes (8,000 to train on, 2,000 to test on, if not given), ``views`` of each after one
    another, with captions, attributes, and the first object's shape as label. The splits have no scene in common.

    cache: the folder that pictures are kept in; None is ``shapes`` in the cache folder that ``nerfcore doctor`` prints.
    They are drawn again when this code changes.
    """
    count = DEFAULT_COUNT[split] if count is None else count
    shapes, indices = Shapes(seed), range(FIRST[split], FIRST[split] + count)
    scenes = [shapes.scene(index) for index in indices for _ in range(views)]
    attributes = {
        name: torch.tensor([options.index(scene.attribute(name)) for scene in scenes])
        for name, options in ATTRIBUTES.items()
    }
    key = hashlib.sha256(repr((split, size, count, views, seed)).encode())
    for file in (__file__, primitives.__file__, tracer.__file__):
        key.update(Path(file).read_bytes())
    kept = (cache_dir() / "shapes" if cache is None else Path(cache)) / f"{key.hexdigest()[:24]}.npy"
    pictures = _kept(kept, (count * views, 3, size, size))
    if pictures is None:
        drawn = [shapes.render(indices, shapes.poses(indices, view), size).pictures for view in range(views)]
        pictures = torch.stack(drawn, 1).flatten(0, 1)
        content = io.BytesIO()
        np.save(content, pictures.numpy())
        with contextlib.suppress(OutputError):  # then it is drawn again next time
            write_file(kept, content.getvalue())
    captions = tuple(scene.caption for scene in scenes)
    return Examples(pictures, attributes["shape"], ATTRIBUTES["shape"], captions, "shapes", attributes)


def _kept(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    try:
        pictures = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(pictures) if pictures.shape == shape and pictures.dtype == np.uint8 else None


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _uniforms(seed: int, index: int, stream: int, count: int) -> list[float]:
    """Numbers in [0, 1) that depend on these alone: a hash of where they stand."""
    state = hashlib.shake_128(f"{seed} {index} {stream}".encode()).digest(4 * count)
    return (np.frombuffer(state, "<u4") / 2.0**32).tolist()


def _turned(xyz: Tensor, yaw: Tensor) -> Tensor:
    """Vectors [3, N] of the world in the axes of objects turned by yaw [N]."""
    cos, sin = yaw.cos(), yaw.sin()
    return torch.stack((cos * xyz[0] + sin * xyz[1], cos * xyz[1] - sin * xyz[0], xyz[2].expand_as(cos * xyz[0])))


def _trace(scenes: Sequence[Sequence[Thing]], origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """sRGB values [3, B, P] and distances [B, P], infinite where nothing is hit, along P rays [3, B, P] of each scene.

    Solids cast no shadows, so each is traced alone, by those rays that meet the sphere about it; the nearest hit wins.
    """
    kinds, rays = tuple(KINDS), direction.shape[2]
    placed = [(kinds.index(thing.shape), image, thing) for image, things in enumerate(scenes) for thing in things]
    placed.sort(key=lambda entry: entry[0])  # things of a kind, and so their rays, stand together
    image = torch.tensor([entry[1] for entry in placed])
    own = torch.tensor([
        (*thing.centre, thing.radius, thing.yaw, thing.proportion, KINDS[thing.shape].reach * thing.radius, kind,
         thing.material == "shiny", *COLOURS[thing.colour]) for kind, _, thing in placed
    ]).T.contiguous()  # [12, T]

    start, heading = origin[:, image] - own[:3, :, None], direction[:, image]  # [3, T, P]
    middle = -(start * heading).sum(0)
    half = own[6, :, None].square() - (start.square().sum(0) - middle.square())
    pair = ((half > 0) & (middle > 0)).flatten().nonzero().squeeze(1)
    thing, pixel = pair // rays, pair % rays
    own, at = own[:, thing], image[thing] * rays + pixel
    radius, yaw, proportion, shiny, albedo = own[3], own[4], own[5], own[8], own[9:]
    half, middle = half.view(-1)[pair].sqrt() / radius, middle.view(-1)[pair] / radius
    start, heading = (_turned(vector.flatten(1)[:, pair], yaw) for vector in (start, heading))
    ray = torch.cat((start / radius, heading, torch.stack((middle - half, middle + half, proportion))))  # in radii
    kind = own[7].long()
    way = torch.cat([_march(KINDS[kinds[k]].distance, part) for k, part in _by_kind(kind, ray)]) * radius
    nearest = torch.full((len(scenes) * rays,), torch.inf).scatter_reduce(0, at, way, "amin")

    seen = (way.isfinite() & (way == nearest[at])).nonzero().squeeze(1)
    ray, at, way, yaw = ray[:, seen], at[seen], way[seen] / radius[seen], yaw[seen]
    ray[:3] += way * ray[3:6]
    normal = torch.cat([_normal(KINDS[kinds[k]].distance, part) for k, part in _by_kind(kind[seen], ray)], 1)
    light = _turned(F.normalize(torch.tensor(LIGHT), dim=0)[:, None], yaw)
    facing = (normal * light).sum(0).clamp(min=0)
    mirrored = (normal * F.normalize(light - ray[3:6], dim=0)).sum(0).clamp(min=0)
    upwards = (ray[5] - 2 * (normal * ray[3:6]).sum(0) * normal[2]).clamp(min=0)  # of the reflected ray
    gleam = shiny[seen] * (HIGHLIGHT * mirrored**SHININESS + SHEEN * upwards)
    rgb = torch.full((3, len(nearest)), BACKGROUND)
    rgb[:, at] = tracer.encode_srgb(albedo[:, seen] * (AMBIENT + LAMBERT * facing) + gleam)
    return rgb.view(3, -1, rays), nearest.view(-1, rays)


def _by_kind(kind: Tensor, columns: Tensor) -> list[tuple[int, Tensor]]:
    """Columns [D, N] apart by kind [N], which is in order."""
    parts = columns.split(kind.bincount(minlength=len(KINDS)).tolist(), 1)
    return [(k, part) for k, part in enumerate(parts) if part.shape[1]] or [(0, columns)]


def _march(distance: Callable[[Tensor, Tensor], Tensor], ray: Tensor) -> Tensor:
    """Where rays [9, N] (start, direction, where to begin, where to end, proportion) meet a solid, infinity if they
    do not (Hart 1996)."""
    met, place = torch.full_like(ray[6], torch.inf), torch.arange(ray.shape[1])
    ray = ray.clone()
    for _ in range(MOST_STEPS):
        way = ray[6]
        step = distance((ray[:3] + way * ray[3:6]).T, ray[8])
        way += step
        landed = step < HIT
        met[place[landed]] = way[landed]
        going = (~landed & (way < ray[7])).nonzero().squeeze(1)
        if not len(going):
            break
        ray, place = ray[:, going], place[going]
    return met


def _normal(distance: Callable[[Tensor, Tensor], Tensor], ray: Tensor) -> Tensor:
    """[3, N]: outward unit normals where rays begin, by differences to the corners of a tetrahedron."""
    normal = torch.zeros_like(ray[:3])
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        corner = torch.tensor(corner, dtype=ray.dtype)[:, None]
        normal += corner * distance((ray[:3] + HIT * corner).T, ray[8])
    return F.normalize(normal, dim=0)
