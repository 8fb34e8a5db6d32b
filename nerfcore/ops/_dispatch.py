"""Chooses the implementation of an operation, and checks its arguments in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nerfcore import _extension
from nerfcore.errors import BackendError

BACKENDS = ("auto", "reference", "cpu", "cuda")
_told = False


def use_kernel(backend: str, tensor: Tensor) -> bool:
    """True if the C++/CUDA kernel serves this call, False for the plain-PyTorch reference.

    "auto" follows the tensor's device and falls back to the reference, saying so once; "cpu" and "cuda" raise
    :class:`BackendError` if that kernel cannot run on this tensor. ValueError if it has no kernel for its type.
    """
    global _told
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "reference":
        return False
    device = tensor.device.type
    if backend != "auto" and backend != device:
        raise BackendError(
            f'backend="{backend}" was asked for, but the tensors are on "{device}": move them, or use backend="auto"'
        )
    problem = _problem(device)
    if problem is None:
        if tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"the kernels take float32 or float64, got {tensor.dtype}: convert with .float(), which torch.autocast "
                'does by itself, or use backend="reference"'
            )
        return True
    if backend != "auto":
        raise BackendError(f'backend="{backend}" cannot run: {problem}')
    if not _told:
        _told = True
        warnings.warn(f"nerfcore runs on its slower PyTorch reference: {problem}", stacklevel=3)
    return False


def _constant(function):
    """For functions whose result torch.compile may take as it is while it traces, instead of following them: what
    torch.compiler.assume_constant_result does, which imports the compiler for that and takes seconds."""
    function._dynamo_marked_constant = True
    return function


@_constant
def _problem(device: str) -> str | None:
    """Why there are no kernels for a device, or None, when they and their fakes are there."""
    problem = _extension.unavailable(device)
    if problem is None:
        from nerfcore.ops import _fakes  # noqa: F401  registers them, once
    return problem


def check(
    name: str, tensor: Tensor, shape: str, dims: dict[str, int], like: Tensor | None = None, halves: bool = False
) -> Tensor:
    """Checks a tensor against a shape string such as ``"R 3"`` and returns it contiguous; under torch.autocast, which
    makes halves of what other operations return, in float32, unless the operation takes ``halves``.

    Letters are bound in ``dims`` at first sight and must agree afterwards. ``like`` fixes device and dtype.
    Raises ValueError naming the argument, what was expected and what came.
    """
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} must be a tensor of shape [{shape.replace(' ', ', ')}], got {type(tensor).__name__}")
    axes = _axes(shape)
    expected = [dims.get(a) if number is None else number for a, number in axes]
    if tensor.ndim != len(axes) or any(e is not None and e != n for e, n in zip(expected, tensor.shape, strict=True)):
        want = ", ".join(
            a if e is None else str(e) if number is not None else f"{a}={e}"
            for (a, number), e in zip(axes, expected, strict=True)
        )
        raise ValueError(f"{name} must have shape [{want}], got {list(tensor.shape)}")
    if not halves and tensor.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(tensor.device.type):
        tensor = tensor.float()
    dims.update({a: n for (a, number), n in zip(axes, tensor.shape, strict=True) if number is None})
    if like is not None:
        if tensor.device != like.device:
            raise ValueError(f"{name} must be on {like.device} like the other arguments, got {tensor.device}")
        if tensor.dtype != like.dtype:
            raise ValueError(f"{name} must be {like.dtype} like the other arguments, got {tensor.dtype}")
    return tensor.contiguous()


def by_reference(
    reference: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of ``reference(*inputs)`` in those of its inputs that have one, by operations that can themselves
    be differentiated: what a backward pass returns that somebody will differentiate once more."""
    pairs = [(out, g) for out, g in zip(reference(*inputs), grads, strict=True) if g is not None and out.requires_grad]
    outputs, along = zip(*pairs, strict=True)
    wanted = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, along, create_graph=True, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in inputs]


class LastDerivative(torch.autograd.Function):
    """``apply(derivative, operation, *inputs)``: the derivative, which raises where it is differentiated once more.

    ``once_differentiable`` lets a derivative pass as a constant where what came from behind is one.
    """

    @staticmethod
    def forward(ctx, derivative, operation, *inputs):
        ctx.operation = operation
        return derivative.view_as(derivative)

    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError(f'{ctx.operation} has derivatives to the second order; further ones: backend="reference"')


_parsed: dict[str, tuple[tuple[str, int | None], ...]] = {}


@_constant
def _axes(shape: str) -> tuple[tuple[str, int | None], ...]:
    """Each axis as its letter and None, or as a number twice: every operation asks, at every call."""
    if shape not in _parsed:
        _parsed[shape] = tuple((a, int(a) if a.isdigit() else None) for a in shape.split())
    return _parsed[shape]
