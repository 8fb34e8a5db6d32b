"""What the viewer shows of scenes, models and trainings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from torch import Tensor

from nerfcore.applications.export import export_mesh
from nerfcore.cameras.intrinsics import Camera
from nerfcore.data.camera_path import CameraPath
from nerfcore.data.scene import Scene
from nerfcore.mesh import unlit_glb
from nerfcore.renderer.model import Model
from nerfcore.renderer.video import path_trajectory, write_video
from nerfcore.viewer.content import Content
from nerfcore.viewer.pictures import Photo
from nerfcore.viewer.turns import Turns

Looking = Callable[[], AbstractContextManager]


def scene_content(scene: Scene, folder: Path) -> Content:
    """A capture: its cameras with their photographs, sparse points and box. folder: where what is made goes."""
    return Content(scene.name, photos_of(scene, {}), scene.transform.world_box, folder, scene.points)


def model_content(model: Model, scene: Scene | None, folder: Path, looking: Looking = nullcontext) -> Content:
    """A model, with the photographs it was trained on if their scene is given. looking: a context in which the field
    stands still, for pictures, films and meshes of it."""
    cameras = {name: (camera, pose) for name, camera, pose in model.cameras}
    bare = [Photo(name, camera, pose.cpu()) for name, (camera, pose) in cameras.items()]
    return Content(
        model.header.get("scene") or folder.resolve().name, bare if scene is None else photos_of(scene, cameras),
        model.world_box, folder, None if scene is None else scene.points, model.render,
        export=partial(_export, model, looking), mesh=unlit_glb, film=partial(_film, model, looking),
    )


def photos_of(scene: Scene, corrected: dict[str, tuple[Camera, Tensor]]) -> list[Photo]:
    """The photographs of a scene, training views first. corrected: cameras and poses of those that training moved."""
    photos = []
    for split in (scene.train, scene.val, scene.test):
        for i, frame in enumerate(split.frames if split else []):
            camera, pose = corrected.get(frame.name, (frame.camera, frame.pose))
            camera = camera.resized(frame.camera.width, frame.camera.height)
            photos.append(Photo(frame.name, camera, pose.cpu(), partial(split.image, i), split is not scene.train))
    return photos


class LiveView:
    """Shows a training while it goes on: the ``before_step`` of :func:`nerfcore.train`.

    open_viewer(content, turns) opens a :class:`~nerfcore.viewer.server.Viewer` before the first step. Training and
    looking take turns, and a pause takes no time of the budget.
    """

    def __init__(self, folder: Path, open_viewer: Callable):
        self.folder, self.open_viewer = folder, open_viewer
        self.turns, self.viewer = Turns(), None

    def __call__(self, trainer) -> None:
        """Takes a :class:`~nerfcore.training.trainer.Trainer`."""
        if self.viewer is None:
            content = model_content(trainer.model({}), trainer.scene, self.folder, self.turns.looking)
            self.viewer = self.open_viewer(content, self.turns)
        trainer.started += self.turns.between_steps()

    def show(self, progress, text: str) -> None:
        """Says how far the training is; takes a :class:`~nerfcore.training.trainer.Progress`."""
        if progress.stage != "training":
            self.turns.finish()
        if self.viewer is not None:
            self.viewer.show_training(text, progress.fraction)

    def show_result(self, text: str) -> None:
        """Says what came out, when there is no step any more."""
        if self.viewer is not None:
            self.viewer.show_training(text, 1.0)

    def close(self) -> None:
        """Ends the viewer, if it was opened."""
        if self.viewer is not None:
            self.viewer.close()


def _export(model: Model, looking: Looking, file: Path, resolution: int) -> str:
    with looking():
        mesh = export_mesh(model, file, resolution=resolution)
    return f"{file}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} triangles"


class _Watched:
    """A model that is looked at for one picture at a time."""

    def __init__(self, model: Model, looking: Looking):
        self.model, self.cameras, self.looking = model, model.cameras, looking

    def render_image(self, camera: Camera, pose: Tensor, **how) -> dict[str, Tensor]:
        with self.looking():
            return self.model.render_image(camera, pose, **how)


def _film(model: Model, looking: Looking, file: Path, path: CameraPath, on_frame: Callable[[int, int], None]) -> None:
    write_video(_Watched(model, looking), file, path_trajectory(model, path), path.fps, on_frame=on_frame)
