"""nerfcore: a differentiable rendering engine for neural radiance fields, on a plain CPU and on a GPU."""

from nerfcore.applications.export import export_mesh as export_mesh
from nerfcore.cameras.intrinsics import Camera as Camera
from nerfcore.cameras.rays import camera_rays as camera_rays
from nerfcore.data import load_scene as load_scene
from nerfcore.data.scene import Scene as Scene
from nerfcore.errors import BackendError as BackendError
from nerfcore.errors import BuildError as BuildError
from nerfcore.errors import ModelError as ModelError
from nerfcore.errors import NerfcoreError as NerfcoreError
from nerfcore.errors import OutputError as OutputError
from nerfcore.errors import SceneError as SceneError
from nerfcore.renderer.model import Model as Model
from nerfcore.training.evaluate import evaluate as evaluate
from nerfcore.training.run import Run as Run
from nerfcore.training.run import load as load
from nerfcore.training.run import train as train
from nerfcore.types import Rays as Rays
from nerfcore.types import Render as Render
from nerfcore.types import Samples as Samples
from nerfcore.version import __version__ as __version__

__all__ = [
    "BackendError", "BuildError", "Camera", "Model", "ModelError", "NerfcoreError", "OutputError", "Rays", "Render", "Run",
    "Samples", "Scene", "SceneError", "__version__", "camera_rays", "evaluate", "export_mesh", "load", "load_scene", "train",
]
