"""Rays through pixels."""

import torch

from nerfcore.cameras import Camera, Orthographic, Perspective, camera_rays, look_at

CAMERA = Camera(6, 4, 5.0, 5.5, 2.8, 2.1, Perspective(k1=0.05, p1=0.002))
POSE = look_at((1.0, -3.0, 0.5), (0.0, 0.2, 0.0)).double()


def test_points_along_a_ray_project_to_its_pixel():
    rays = camera_rays(CAMERA, POSE)
    points = rays.origin + 2.5 * rays.direction
    local = (points - POSE[:, 3]) @ POSE[:, :3]
    pixel, visible = CAMERA.project(local)
    assert visible.all() and len(rays) == 24
    assert torch.allclose(pixel, CAMERA.pixel_centres().double(), atol=1e-5)  # the pose is float32 accurate


def test_directions_are_unit_and_z_scale_turns_distance_into_depth():
    rays = camera_rays(CAMERA, POSE)
    assert torch.allclose(rays.direction.norm(dim=-1), torch.ones(24).double(), atol=1e-6)
    depth = -2.5 * (rays.direction @ POSE[:, 2])
    assert torch.allclose(2.5 * rays.z_scale, depth, atol=1e-6)


def test_the_centre_of_the_picture_is_the_optical_axis():
    plain = Camera(6, 4, 5.0, 5.5, 2.8, 2.1)
    rays = camera_rays(plain, POSE.float(), torch.tensor([[2.8, 2.1]]))
    assert torch.allclose(rays.direction[0], -POSE[:, 2].float()) and rays.z_scale.item() == 1
    assert rays.direction.dtype == torch.float32


def test_gradients_reach_pose_and_pixels():
    pose = POSE.clone().requires_grad_()
    pixel = torch.tensor([[1.0, 2.0], [4.5, 0.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, x: camera_rays(CAMERA, p, x).direction, (pose, pixel))
    assert torch.autograd.gradcheck(lambda p, x: camera_rays(CAMERA, p, x).z_scale, (pose, pixel))


def test_parallel_rays_start_on_the_plane_of_the_camera():
    camera = Camera(6, 4, 2.0, 2.0, 3.0, 2.0, Orthographic())
    rays = camera_rays(camera, POSE)
    assert torch.allclose(rays.direction, -POSE[:, 2].expand(24, 3), atol=1e-6) and (rays.z_scale == 1).all()
    offset = rays.origin - POSE[:, 3]
    assert (offset @ POSE[:, 2]).abs().max() < 1e-6
    assert torch.allclose(offset @ POSE[:, 0], (camera.pixel_centres()[:, 0].double() - 3) / 2, atol=1e-6)


def test_rays_that_look_back_have_a_negative_z_scale():
    rays = camera_rays(Camera.panorama(8, 4), POSE)
    assert torch.allclose(rays.z_scale, -(rays.direction @ POSE[:, 2]), atol=1e-6)
    assert (rays.z_scale < 0).sum() == 16
