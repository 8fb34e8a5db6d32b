"""Rooms for the path tracer, in which most light has been thrown back several times."""

from __future__ import annotations

import torch
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import look_at
from nerfcore.synthetic.paths import Body, Material, World, box, quad, sphere

WHITE, RED, GREEN = Material((0.75, 0.75, 0.75)), Material((0.65, 0.1, 0.08)), Material((0.12, 0.5, 0.15))


def _shell(depth: float = 2.0) -> list[Body]:
    """Floor, ceiling and walls of a room of two by two, and so deep; the wall before the camera is open at y = 0."""
    d = depth
    return [
        quad((-1, 0, 0), (2, 0, 0), (0, d, 0), WHITE), quad((-1, 0, 2), (0, d, 0), (2, 0, 0), WHITE),
        quad((-1, d, 0), (2, 0, 0), (0, 0, 2), WHITE), quad((-1, 0, 0), (0, d, 0), (0, 0, 2), RED),
        quad((1, 0, 0), (0, 0, 2), (0, d, 0), GREEN), quad((-1, 0, 0), (0, 0, 2), (2, 0, 0), WHITE),
    ]


def upward_lamp() -> World:
    """A lamp in a bowl: it lights the ceiling, and the ceiling the room."""
    lamp = Material((0.0, 0.0, 0.0), emission=(60.0, 55.0, 45.0))
    bowl = [
        quad((0.45, 1.45, 1.35), (0.3, 0, 0), (0, 0.3, 0), lamp),
        box((0.4, 1.4, 1.30), (0.8, 1.8, 1.34), WHITE),
        *(box(low, high, WHITE) for low, high in (
            ((0.38, 1.38, 1.30), (0.40, 1.82, 1.45)), ((0.80, 1.38, 1.30), (0.82, 1.82, 1.45)),
            ((0.38, 1.38, 1.30), (0.82, 1.40, 1.45)), ((0.38, 1.80, 1.30), (0.82, 1.82, 1.45)),
        )),
    ]
    things = [box((-0.6, 1.1, 0), (-0.1, 1.6, 1.0), WHITE, turn=0.3), sphere((0.3, 0.9, 0.3), 0.3, WHITE)]
    return World([*_shell(), *bowl, *things])


def door_ajar() -> World:
    """All light comes through a gap beside the back wall, from a bright room behind it."""
    lamp = Material((0.0, 0.0, 0.0), emission=(90.0, 80.0, 70.0))
    room = _shell(depth=2.0)
    room[2] = quad((-1, 2, 0), (1.7, 0, 0), (0, 0, 2), WHITE)  # the wall leaves a gap on the right
    behind = [
        quad((-1, 2, 0), (2, 0, 0), (0, 1, 0), WHITE), quad((-1, 2, 2), (0, 1, 0), (2, 0, 0), WHITE),
        quad((-1, 3, 0), (2, 0, 0), (0, 0, 2), WHITE), quad((-1, 2, 0), (0, 1, 0), (0, 0, 2), WHITE),
        quad((1, 2, 0), (0, 0, 2), (0, 1, 0), WHITE), quad((-0.7, 2.3, 1.98), (0, 0.4, 0), (0.4, 0, 0), lamp),
        quad((0.7, 2.001, 0), (0, 0, 2), (-1.7, 0, 0), WHITE),
    ]
    things = [sphere((-0.4, 1.2, 0.35), 0.35, WHITE), box((0.2, 0.8, 0), (0.6, 1.2, 0.6), WHITE, turn=0.5)]
    return World([*room, *behind, *things])


def polished(mesh: tuple[Tensor, Tensor] | None = None) -> World:
    """A mirror, a glossy metal, and a body of many triangles (vertices [V, 3] in a ball of radius 1, faces), under a
    lamp behind a screen."""
    lamp = Material((0.0, 0.0, 0.0), emission=(50.0, 50.0, 50.0))
    gold, mirror = Material((0.9, 0.7, 0.35), roughness=0.4), Material((0.92, 0.92, 0.92), roughness=0.0)
    things = [
        sphere((-0.5, 1.3, 0.4), 0.4, mirror), sphere((0.45, 0.8, 0.3), 0.3, gold),
        quad((-0.3, 0.9, 1.98), (0, 0.5, 0), (0.6, 0, 0), lamp), box((-0.4, 0.8, 1.7), (0.4, 1.5, 1.72), WHITE),
    ]
    if mesh is not None:
        vertices, faces = mesh
        turned = vertices[:, [0, 2, 1]] * torch.tensor([1.0, -1.0, 1.0])  # its y axis points up
        things.append(Body(0.35 * turned + torch.tensor([0.35, 1.5, 0.35]), faces, WHITE, smooth=True))
    return World([*_shell(), *things])


def view(side: int) -> tuple[Camera, Tensor]:
    """Into a room, from its open wall: camera and pose."""
    return Camera(side, side, 0.8 * side, 0.8 * side, side / 2, side / 2), look_at((0.0, 0.02, 1.0), (0.0, 1.0, 0.9))
