"""Repairs of the volume before it is triangulated: whatever is cut from a volume, its surface stays closed."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LOOKED_INTO = 0.01
"""Share of a cavity's samples that some camera must look through for the cavity to be real."""


def drop_floaters(occupancy: np.ndarray, min_component: float) -> None:
    """Empties, in place, each connected solid (> 0.5) with less than ``min_component`` of the largest one's samples."""
    label, count = ndimage.label(occupancy > 0.5)  # by faces: as marching cubes joins samples
    if count < 2:
        return
    size = np.bincount(label.ravel())
    size[0] = 0
    small = size < min_component * size.max()
    small[0] = False
    occupancy[small[label]] = 0


def fill_cavities(occupancy: np.ndarray, is_open: np.ndarray) -> None:
    """Fills, in place, each connected empty space (<= 0.5) that no camera looks into and that is off the border.

    occupancy [X, Y, Z] with a border of empty samples. is_open [x, y, z], on a coarser grid over the inner samples.
    """
    through_faces_and_edges = ndimage.generate_binary_structure(3, 2)  # the complement of how solids are joined
    label, count = ndimage.label(occupancy <= 0.5, through_faces_and_edges)
    at = [np.rint(np.linspace(1, n - 2, m)).astype(int) for n, m in zip(occupancy.shape, is_open.shape, strict=True)]
    sampled = label[np.ix_(*at)]
    num_open = np.bincount(sampled[is_open], minlength=count + 1)
    num_sampled = np.bincount(sampled.ravel(), minlength=count + 1)
    closed = (num_open == 0) | (num_open < LOOKED_INTO * num_sampled)
    closed[[0, label[0, 0, 0]]] = False
    if closed.any():
        occupancy[closed[label]] = 1
