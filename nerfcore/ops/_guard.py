"""Finds the operation in which numbers stop being finite."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator

from torch import Tensor

from nerfcore.errors import NerfcoreError

_on = False  # no ContextVar: torch.compile traces the operations, and knows none


@contextlib.contextmanager
def finite_guard() -> Iterator[None]:
    """Within it every guarded operation looks at its arguments and results, and backward at their gradients, and raises
    NerfcoreError with the operation's name and the tensor's at the first NaN or infinity.

    It reads every tensor and waits for every result: a search for the cause, not a way to run.
    """
    global _on
    before, _on = _on, True
    try:
        yield
    finally:
        _on = before


def guarded(*results: str) -> Callable:
    """Decorator: the operation, whose results have these names, takes part in :func:`finite_guard`."""

    def decorate(operation):
        signature = inspect.signature(operation)

        @functools.wraps(operation)
        def call(*args, **kwargs):
            if not _on:
                return operation(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            for name, value in bound.arguments.items():
                bound.arguments[name] = _watched(operation, name, value)
            out = operation(*bound.args, **bound.kwargs)
            values = zip(results, out if isinstance(out, tuple) else (out,), strict=True)
            watched = tuple(_watched(operation, name, value) for name, value in values)
            return watched if isinstance(out, tuple) else watched[0]

        return call

    return decorate


def _watched(operation: Callable, name: str, value):
    """The value, looked at, as a view whose gradient is that of this operation alone and is looked at when it comes."""
    if isinstance(value, (list, tuple)):
        return [_watched(operation, f"{name}[{i}]", v) for i, v in enumerate(value)]
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    _look(operation, name, value)
    if value.requires_grad:  # autograd hands over None where the operation takes the value for a constant
        value = value.view_as(value)
        value.register_hook(lambda g: None if g is None else _look(operation, f"the gradient of {name}", g))
    return value


def _look(operation: Callable, name: str, tensor: Tensor) -> None:
    bad = tensor.numel() - int(tensor.isfinite().sum())
    if bad:
        raise NerfcoreError(f"{operation.__name__}: {name} is not finite ({bad} of {tensor.numel()} numbers)")
