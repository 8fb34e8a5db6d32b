"""The errors a user can meet. Each message says what was wrong, where, and what to do; the command prints it without a
traceback."""


class NerfcoreError(RuntimeError):
    """Base of every error that nerfcore raises on purpose for something outside its code."""


class SceneError(NerfcoreError):
    """The scene folder, one of its images, poses or intrinsics cannot be used."""


class ModelError(NerfcoreError):
    """A saved model or checkpoint cannot be read, or does not fit this version."""


class BackendError(NerfcoreError):
    """A backend was asked for by name and cannot run here."""


class BuildError(NerfcoreError):
    """The C++/CUDA kernels could not be compiled."""


class OutputError(NerfcoreError):
    """A result cannot be written."""
