"""Cameras, lenses, poses, rays and paths. Axis conventions are stated in `nerfcore.cameras.poses`."""

from nerfcore.cameras.alignment import Similarity
from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.lenses import LENSES, Equirectangular, Fisheye, Lens, Orthographic, Perspective
from nerfcore.cameras.poses import check_pose, look_at, rotation_angle, rotation_exp, to_opencv_axes
from nerfcore.cameras.rays import camera_rays
from nerfcore.cameras.trajectories import Spline, face_one_way, looked_at, mean_pose, orbit, orbit_of, spiral, spiral_of

__all__ = [
    "LENSES", "Camera", "Equirectangular", "Fisheye", "Lens", "Orthographic", "Perspective", "Similarity", "Spline",
    "camera_rays", "check_pose", "face_one_way", "look_at", "looked_at", "mean_pose", "orbit", "orbit_of",
    "rotation_angle", "rotation_exp", "spiral", "spiral_of", "to_opencv_axes",
]
