"""The names that people import: adding or removing one is a decision, so the list is written here too."""

import nerfcore

PUBLIC_NAMES = [
    "BackendError",
    "BuildError",
    "Camera",
    "Model",
    "ModelError",
    "NerfcoreError",
    "OutputError",
    "Rays",
    "Render",
    "Run",
    "Samples",
    "Scene",
    "SceneError",
    "__version__",
    "camera_rays",
    "check",
    "evaluate",
    "export_mesh",
    "load",
    "load_scene",
    "process",
    "train",
]


def test_public_names_are_the_agreed_ones():
    assert sorted(nerfcore.__all__) == PUBLIC_NAMES


def test_every_public_name_is_there():
    assert [name for name in nerfcore.__all__ if not hasattr(nerfcore, name)] == []
