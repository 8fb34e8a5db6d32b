"""Cameras, poses, rays and paths. Axis conventions are stated in `nerfcore.cameras.poses`."""

from nerfcore.cameras.intrinsics import Camera
from nerfcore.cameras.poses import check_pose, look_at
from nerfcore.cameras.rays import camera_rays
from nerfcore.cameras.trajectories import orbit, orbit_of

__all__ = ["Camera", "camera_rays", "check_pose", "look_at", "orbit", "orbit_of"]
