"""Photographs or a video to a capture that trains: :func:`process`."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from nerfcore.cameras.poses import to_opencv_axes
from nerfcore.data.colmap import CAMERA_MODELS, read_colmap
from nerfcore.data.convert import write_capture
from nerfcore.data.values import image_files, read_json
from nerfcore.errors import OutputError, SceneError
from nerfcore.files import write_file
from nerfcore.sfm import reconstruct
from nerfcore.sfm.frames import write_sharpest_frames
from nerfcore.sfm.photographs import by_camera, find_photographs, gather
from nerfcore.sfm.reconstruct import OnProgress, Project, require_pycolmap
from nerfcore.sfm.upright import upright

SCHEMA = 1
ENOUGH = 0.95  # share of the photographs with features that a model must hold to be the last that is tried
MATCHING = "sequential", "exhaustive", "vocabulary"
MAPPING = "incremental", "global"
FEW, MANY = 40, 300  # photographs: up to few, all pairs are matched at once; beyond many, never unless asked for
ROOM_PER_PHOTOGRAPH = 2**20  # bytes of its features and matches
TRACKS = 20_000  # points whose distances from cameras are looked at


@dataclass(frozen=True)
class Processed:
    """What :func:`process` found. photographs: how many there were; registered: how many of them have a camera now.

    reprojection_error: mean distance in pixels of points from where photographs show them. cameras: distinct lenses.
    matching: the kinds that were tried. left_out: why each of the others has none, by name.
    """

    out: Path
    photographs: int
    registered: int
    reprojection_error: float
    points: int
    cameras: int
    matching: list[str]
    left_out: dict[str, str]
    seconds: float


def process(
    photos: str | Path, out: str | Path, *, frames: int | None = None, camera_model: str = "OPENCV",
    camera_per_image: bool = False, matching: str = "auto", mapping: str = "incremental", threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> Processed:
    """Finds the cameras of photographs, and writes a capture that :func:`nerfcore.train` takes as it is.

    photos: a folder of photographs, or a video, of which the sharpest frames are taken, evenly in time (``frames``;
    None is 3 a second, but 50 to 200). camera_model: one of COLMAP's; lenses keep their distortion, photographs their
    pixels. camera_per_image: each photograph has a lens of its own; otherwise those of one size, camera and focal
    length, by their EXIF data, share one. matching: "sequential", "exhaustive", "vocabulary", or "auto", which goes
    from one to the next while too few photographs are registered. mapping: "incremental" or "global". threads: at most
    so many, default torch's number. on_progress(stage, done, total) is told how far each stage is.

    ``out``, which is empty, new, or what an earlier call with the same photographs left, will hold ``images`` (links to
    the photographs, or copies), ``transforms.json`` with ``sparse_pc.ply``, ``process.json`` (what is returned), and in
    ``colmap`` the model and the database. World coordinates have z up, the point that the cameras look at at the
    origin, and 1 as the usual distance from a camera to what it sees: photographs do not tell metres.

    An interrupted call goes on where it was when it is repeated. Raises SceneError where the photographs give no
    cameras, OutputError where ``out`` cannot be written, NerfcoreError without pycolmap.
    """
    for name, value, known in (
        ("camera_model", camera_model, CAMERA_MODELS), ("matching", matching, ("auto", *MATCHING)),
        ("mapping", mapping, MAPPING),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; choose one of {', '.join(known)}")
    if frames is not None and frames < reconstruct.SMALLEST_MODEL:
        raise ValueError(f"frames is {frames}; {reconstruct.SMALLEST_MODEL} or more are needed")
    begun, source, out = time.monotonic(), Path(photos), Path(out)
    report = on_progress or (lambda stage, done, total: None)
    require_pycolmap()
    is_video = source.is_file()
    found = [] if is_video else find_photographs(source)
    settings = dict(frames=frames, camera_model=camera_model, camera_per_image=camera_per_image)
    _begin(out, dict(photos=str(source.resolve()), **settings))
    images = out / "images"
    if is_video:
        if not images.exists():
            write_sharpest_frames(source, images, frames, lambda done, total: report("frames", done, total))
        found, left_out = image_files(images), {}
    else:
        left_out = gather(found, images, lambda done, total: report("photographs", done, total))
    names = [path.name for path in found if path.name not in left_out]
    if len(names) < reconstruct.SMALLEST_MODEL:
        raise SceneError(
            f"{source}: has {_plural(len(names))} that can be read, and {reconstruct.SMALLEST_MODEL} are the least; "
            "take more, from different places"
        )

    project = Project(images, names, out / "colmap", threads or torch.get_num_threads(), report)
    reconstruct.require_room(out, reconstruct.RESERVE + len(names) * ROOM_PER_PHOTOGRAPH)
    reconstruct.import_cameras(project, by_camera([images / name for name in names]), camera_model, camera_per_image)
    features = reconstruct.find_features(project)
    left_out |= {name: "cannot be read by pycolmap" for name in names if name not in features}
    models, tried = _reconstruct(project, features, _kinds(names, is_video, matching), mapping)
    left_out |= reconstruct.unregistered(project, models, features)
    if not models:
        said = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
        raise SceneError(
            f"{source}: its {_plural(len(names))} could not be joined ({said}, …); take more, with more overlap, of "
            "something with texture"
        )
    model = models[0]
    reconstruct.refine_centres(project, model)
    _put_right(project, model)
    _write(project, model, out)
    result = Processed(
        out, len(found), model.num_reg_images(), model.compute_mean_reprojection_error(), model.num_points3D(),
        model.num_cameras(), tried, left_out, time.monotonic() - begun,
    )
    write_file(out / "process.json", json.dumps(dict(schema=SCHEMA, **asdict(result)), indent=1, default=str))
    return result


def _begin(out: Path, settings: dict) -> None:
    """Makes the folder, or makes sure that it is of an earlier call with the same settings."""
    noted = out / "colmap" / "settings.json"
    if noted.is_file():
        earlier = read_json(noted)
        if other := [f"{key} {earlier.get(key)}" for key in settings if earlier.get(key) != settings[key]]:
            raise OutputError(f"{out}: was begun with {', '.join(other)}; repeat that, or choose another folder")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: is not empty; choose another folder")
    else:
        write_file(noted, json.dumps(settings, indent=1))


def _kinds(names: list[str], ordered: bool, matching: str) -> list[str]:
    """The kinds of matching to try, in order. Photographs whose names are numbered in order are a sequence until they
    prove not to be."""
    if matching != "auto":
        return [matching]
    if len(names) <= FEW:
        return ["exhaustive"]
    numbers = [int(digits[-1]) for name in names if (digits := re.findall(r"\d+", Path(name).stem))]
    ordered = ordered or (len(numbers) == len(names) and numbers == sorted(numbers))
    return [*(["sequential"] if ordered else []), "exhaustive" if len(names) <= MANY else "vocabulary"]


def _reconstruct(project: Project, features: dict[str, int], kinds: list[str], mapping: str) -> tuple[list, list[str]]:
    """The best models, largest first, of the kinds of matching that were tried, and these."""
    with_features = sum(number >= reconstruct.FEWEST_FEATURES for number in features.values())
    if with_features < reconstruct.SMALLEST_MODEL:
        raise SceneError(
            f"{project.images}: {with_features} of {_plural(len(features))} show enough to be told from others (the "
            f"most features are {max(features.values(), default=0)}); take sharp, well lit photographs of something "
            "with texture"
        )
    best, tried, most = [], [], 0
    for kind in kinds:
        tried.append(kind)
        reconstruct.match(project, kind)
        models = reconstruct.map_cameras(project, mapping)
        registered = models[0].num_reg_images() if models else 0
        if registered > most:
            best, most = models, registered
        if registered >= ENOUGH * with_features:
            break
    return best, tried


def _put_right(project: Project, model) -> None:
    """Turns, moves and scales a model as :func:`upright` says."""
    pycolmap = require_pycolmap()
    images = sorted((model.image(image_id) for image_id in model.reg_image_ids()), key=lambda image: image.name)
    poses = np.stack([image.cam_from_world().inverse().matrix() for image in images])
    with project.open() as database:  # pycolmap keeps EXIF orientations as what was down
        down = {prior.corr_data_id.id: prior.gravity for prior in database.read_all_pose_priors()}
    down = np.array([down.get(image.image_id, np.full(3, np.nan)) for image in images])
    down[np.isnan(down).any(1)] = 0.0, 1.0, 0.0
    points = list(model.points3D.values())
    centres = dict(zip((image.image_id for image in images), poses[:, :, 3], strict=True))
    distances = [
        np.linalg.norm(point.xyz - centres[seen.image_id])
        for point in points[:: 1 + len(points) // TRACKS] for seen in point.track.elements
    ]
    similarity = upright(
        to_opencv_axes(torch.from_numpy(poses)), torch.from_numpy(down * [-1.0, 1.0, 1.0]),
        torch.from_numpy(np.array([point.xyz for point in points])), float(np.median(distances)),
    )
    rotation = pycolmap.Rotation3d(similarity.rotation.numpy())
    model.transform(pycolmap.Sim3d(similarity.scale, rotation, similarity.translation.numpy()))


def _write(project: Project, model, out: Path) -> None:
    """The model as ``colmap/sparse/0``, and the capture that it is."""
    beside, sparse = project.folder / "sparse.writing", project.folder / "sparse"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        (beside / "0").mkdir(parents=True)
        model.write_binary(beside / "0")
        shutil.rmtree(sparse, ignore_errors=True)
        os.replace(beside, sparse)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{sparse}: cannot be written ({error}); free space there, and repeat this") from error
    write_capture(read_colmap(sparse / "0"), out, "nerfstudio")


def _plural(photographs: int) -> str:
    return f"{photographs} photograph{'s' * (photographs != 1)}"
