"""Marching cubes of a rippled torus: vertices that triangles share, and triangles; no normals."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from arms import Arm, Cost


@dataclass(frozen=True)
class Work:
    """side: samples along each axis."""

    side: int

    def small(self) -> Work:
        return replace(self, side=32)


def inputs(work: Work) -> dict[str, np.ndarray]:
    """volume [side, side, side], float32: a signed distance, negative inside."""
    axis = np.linspace(-1, 1, work.side, dtype=np.float32)
    x, y, z = axis[:, None, None], axis[:, None], axis
    volume = np.sqrt((np.sqrt(x * x + y * y) - np.float32(0.6)) ** 2 + z * z) - np.float32(0.25)
    return {"volume": volume - np.float32(0.02) * np.sin(24 * x) * np.sin(24 * y) * np.sin(24 * z)}


def cost(work: Work) -> Cost:
    """Every sample is read once; the mesh is small beside the volume."""
    read = 4.0 * work.side**3
    return Cost(read, 0.0, 0.0, lambda limits: limits.copy_seconds(read), "the volume read once, at the rate of a copy")


def truth(work: Work) -> dict[str, np.ndarray]:
    """sorted_vertices: every vertex, in samples, sorted by coordinates. Which of several triangulations joins them is
    left to each library."""
    import torch

    from nerfcore.ops.marching_cubes import marching_cubes_reference

    volume = torch.from_numpy(inputs(work)["volume"]).double()
    return {"sorted_vertices": _sorted(marching_cubes_reference(volume, 0.0)[0].numpy())}


def _sorted(vertices: np.ndarray) -> np.ndarray:
    """[V, 3] without repetitions, in an order that rounding does not change."""
    cells = np.round(vertices.astype(np.float64), 3)
    _, index = np.unique(cells, axis=0, return_index=True)
    return vertices[index]


def _arm(step, vertices) -> Arm:
    last = {}

    def run():
        last["mesh"] = step()

    return Arm(run, lambda: {"sorted_vertices": _sorted(vertices(last["mesh"]))})


def _torch_arm(work: Work, backend: str) -> Arm:
    import torch

    from nerfcore.ops.marching_cubes import marching_cubes

    volume = torch.from_numpy(inputs(work)["volume"])
    return _arm(lambda: marching_cubes(volume, 0.0, backend=backend), lambda mesh: mesh[0].numpy())


def nerfcore_arm(work: Work, threads: int) -> Arm:
    return _torch_arm(work, "cpu")


def torch_arm(work: Work, threads: int) -> Arm:
    return _torch_arm(work, "reference")


def vtk_arm(work: Work, threads: int) -> Arm:
    """vtkFlyingEdges3D, without normals, gradients and scalars, on VTK's own threads."""
    import vtk
    from vtk.util import numpy_support

    if threads > 1:
        vtk.vtkSMPTools.SetBackend("STDThread")
        vtk.vtkSMPTools.Initialize(threads)
    volume = inputs(work)["volume"]
    image = vtk.vtkImageData()
    image.SetDimensions(*volume.shape[::-1])  # VTK counts x fastest
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(volume.ravel(), deep=False))

    def step():
        edges = vtk.vtkFlyingEdges3D()
        edges.SetInputData(image)
        edges.SetValue(0, 0.0)
        edges.ComputeNormalsOff()
        edges.ComputeGradientsOff()
        edges.ComputeScalarsOff()
        edges.Update()
        return edges.GetOutput()

    return _arm(step, lambda mesh: numpy_support.vtk_to_numpy(mesh.GetPoints().GetData())[:, ::-1])


def skimage_arm(work: Work, threads: int) -> Arm:
    """Its method of Lewiner; on one thread."""
    from skimage.measure import marching_cubes

    volume = inputs(work)["volume"]
    return _arm(lambda: marching_cubes(volume, 0.0), lambda mesh: mesh[0])


def mcubes_arm(work: Work, threads: int) -> Arm:
    """On one thread, in double precision."""
    import mcubes

    volume = inputs(work)["volume"]
    return _arm(lambda: mcubes.marching_cubes(volume, 0.0), lambda mesh: mesh[0])


ARMS = {
    "nerfcore": nerfcore_arm, "torch": torch_arm, "vtk": vtk_arm, "skimage": skimage_arm, "mcubes": mcubes_arm,
}
