"""What fields that are made of another one share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from nerfcore.fields.base import Field, field_named
from nerfcore.types import TouchedGradient

Gradient = TypeVar("Gradient", Tensor, TouchedGradient)


class FieldAround(Field):
    """Another field, ``inner``, and something about it. What training asks of the inner field, whose parameters have
    "inner." before their names, it gets."""

    has_sky = True

    def __init__(self, inner: str, inner_config: dict | None, backend: str):
        super().__init__()
        self.inner = field_named(inner)(**(inner_config or {}), backend=backend)

    @property
    def code_features(self):
        return self.inner.code_features

    @property
    def tables(self):
        return tuple(f"inner.{name}" for name in self.inner.tables)

    def rate(self, name):
        return self.inner.rate(name.removeprefix("inner.")) if name.startswith("inner.") else 1.0

    def adding_to(self, gradients):
        return self.inner.adding_to(of_inner(gradients))

    def regularise(self, gradients, generator):
        self.inner.regularise(of_inner(gradients), generator)

    def hold_back(self, gradients, detail):
        self.inner.hold_back(of_inner(gradients), detail)

    def grow(self, fraction, seen):
        return self.inner.grow(fraction, seen)

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """Those that are not the inner field's."""
        return {name: p for name, p in self.named_parameters() if not name.startswith("inner.")}

    def most_bytes(self):
        return self.inner.most_bytes() + sum(p.nbytes for p in self.own_parameters().values())


def of_inner(gradients: Mapping[str, Gradient]) -> dict[str, Gradient]:
    """Those of the inner field, by its own names."""
    return {name.removeprefix("inner."): g for name, g in gradients.items() if name.startswith("inner.")}
