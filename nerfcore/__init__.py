"""nerfcore: a differentiable rendering engine for neural radiance fields, on a plain CPU and on a GPU."""

from importlib import import_module

# Each public name and its home, imported at first use: `nerfcore --help` does not wait for torch.
_HOME = {
    "BackendError": "nerfcore.errors",
    "BuildError": "nerfcore.errors",
    "Camera": "nerfcore.cameras.intrinsics",
    "Model": "nerfcore.renderer.model",
    "ModelError": "nerfcore.errors",
    "NerfcoreError": "nerfcore.errors",
    "OutputError": "nerfcore.errors",
    "Rays": "nerfcore.types",
    "Render": "nerfcore.types",
    "Run": "nerfcore.training.run",
    "Samples": "nerfcore.types",
    "Scene": "nerfcore.data.scene",
    "SceneError": "nerfcore.errors",
    "__version__": "nerfcore.version",
    "camera_rays": "nerfcore.cameras.rays",
    "check": "nerfcore.checkup.checkup",
    "evaluate": "nerfcore.training.evaluate",
    "export_mesh": "nerfcore.applications.export",
    "load": "nerfcore.training.run",
    "load_scene": "nerfcore.data",
    "process": "nerfcore.sfm.process",
    "train": "nerfcore.training.run",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'nerfcore' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
