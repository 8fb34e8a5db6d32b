"""How far is a mesh from the truth?  python benchmarks/mesh.py MESH [--truth TRUTH] [--json OUT]

Both meshes are taken in world units as they are: nothing is aligned or scaled. The Chamfer distance is
½ (mean A→B + mean B→A) over points spread evenly over the area of each mesh, from each point to the nearest one of the
other sample; even a perfect mesh has about half the spacing of the points. Beside it stands the distance to the other
surface itself (through the triangles around the nearest points), which has no such floor.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree

SCHEMA = 1
NEAREST_TRIANGLES = 8
TRUTH = Path(__file__).resolve().parent.parent / "assets" / "scene" / "mesh.ply"


def load_mesh(path: Path) -> trimesh.Trimesh:
    """One mesh in world coordinates. Equal positions are merged where faces share no vertices."""
    mesh = trimesh.load(path, force="mesh", process=False)
    if not mesh.is_watertight:
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
    if len(mesh.faces) == 0:
        raise ValueError(f"{path} has no faces")
    return mesh


def surface_distances(
    points: np.ndarray, other: trimesh.Trimesh, other_points: np.ndarray, other_faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """[N] distances from points [N, 3] to the nearest of the other points, and to the nearest of the triangles
    (other_faces) that the few nearest of them lie on."""
    distance, index = cKDTree(other_points).query(points, k=NEAREST_TRIANGLES, workers=-1)
    to_surface = distance[:, 0].copy()
    for rank in range(NEAREST_TRIANGLES):
        closest = trimesh.triangles.closest_point(other.triangles[other_faces[index[:, rank]]], points)
        to_surface = np.minimum(to_surface, np.linalg.norm(closest - points, axis=-1))
    return distance[:, 0], to_surface


def compare(mesh: trimesh.Trimesh, truth: trimesh.Trimesh, num_points: int, diagonal: float, seed: int) -> dict:
    """Chamfer distances in world units and as shares of the box diagonal, and the two directions."""
    points, faces = trimesh.sample.sample_surface(mesh, num_points, seed=seed)
    true_points, true_faces = trimesh.sample.sample_surface(truth, num_points, seed=seed + 1)
    to_truth, to_truth_surface = surface_distances(points, truth, true_points, true_faces)
    from_truth, from_truth_surface = surface_distances(true_points, mesh, points, faces)
    chamfer = (to_truth.mean() + from_truth.mean()) / 2
    surface = (to_truth_surface.mean() + from_truth_surface.mean()) / 2
    return {
        "chamfer": chamfer,
        "chamfer_share": chamfer / diagonal,
        "surface_chamfer": surface,
        "surface_chamfer_share": surface / diagonal,
        "mesh_to_truth": to_truth.mean(),
        "truth_to_mesh": from_truth.mean(),
        "mesh_to_truth_p99": np.quantile(to_truth_surface, 0.99),
        "truth_to_mesh_p99": np.quantile(from_truth_surface, 0.99),
    }


def topology(mesh: trimesh.Trimesh) -> dict:
    return {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "components": mesh.body_count,
        "watertight": mesh.is_watertight,
        "euler_number": mesh.euler_number,
        "area": mesh.area,
        "volume": mesh.volume,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Distance of a mesh to the true one in world units, and its topology.")
    parser.add_argument("mesh", type=Path)
    parser.add_argument("--truth", type=Path, default=TRUTH, help="the true surface (default: built-in scene)")
    parser.add_argument("--points", type=int, default=100_000, help="points on each mesh")
    parser.add_argument("--box", type=float, nargs=2, default=(-1.515, 1.515), metavar=("MIN", "MAX"),
                        help="the scene box along each axis; distances are given as shares of its diagonal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    for path in (options.mesh, options.truth):
        if not path.is_file():
            sys.exit(f"{path} does not exist; export a mesh first, or name the true one with --truth")
    diagonal = 3**0.5 * (options.box[1] - options.box[0])
    mesh, truth = load_mesh(options.mesh), load_mesh(options.truth)
    result = {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {"system": platform.platform(), "processor": platform.machine()},
        "mesh_path": str(options.mesh),
        "truth_path": str(options.truth),
        "points": options.points,
        "seed": options.seed,
        "box": list(options.box),
        "box_diagonal": diagonal,
        **compare(mesh, truth, options.points, diagonal, options.seed),
        "mesh": topology(mesh),
        "truth": topology(truth),
    }
    result = json.loads(json.dumps(result, default=lambda value: value.item()))  # numpy scalars to plain ones

    within = max(result["mesh_to_truth_p99"], result["truth_to_mesh_p99"])
    print(f"Chamfer distance  {result['chamfer']:.5f} world units, {result['chamfer_share']:.3%} of the box diagonal")
    print(f"  mesh to truth   {result['mesh_to_truth']:.5f}")
    print(f"  truth to mesh   {result['truth_to_mesh']:.5f}")
    print(
        f"Surface distance  {result['surface_chamfer']:.5f} world units, {result['surface_chamfer_share']:.3%} "
        f"(99 % of the points within {within:.5f})"
    )
    for name in ("mesh", "truth"):
        facts = result[name]
        print(
            f"{name:6s} {facts['components']} components, {'' if facts['watertight'] else 'NOT '}watertight, "
            f"Euler number {facts['euler_number']}, {facts['faces']} faces, "
            f"area {facts['area']:.4f}, volume {facts['volume']:.4f}"
        )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
