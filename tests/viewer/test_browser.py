"""The viewer in a headless Chromium, with a ball that is rendered in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from nerfcore.cameras import look_at, orbit
from nerfcore.mesh import Mesh, save_mesh, unlit_glb
from nerfcore.viewer.content import Content
from nerfcore.viewer.pictures import View, paint
from tests.conftest import absent
from tests.viewer.ball import ball, photo
from tests.viewer.chromium import Page, find_chromium

pytest.importorskip("viser", reason="viewer: viser is not installed")
SIZE = 1100, 600
FREE = slice(150, 560), slice(20, 690)  # rows and columns that neither the controls nor a notice hides
CLOSE = 3.0  # of 255, mean: what JPEG and the browser's resampling change


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """A viewer, the page that shows it, and the page's session."""
    if find_chromium() is None:
        absent("chromium", "there is none here; set CHROMIUM")
    from nerfcore.viewer.server import Viewer

    folder = tmp_path_factory.mktemp("viewer")
    photos = [photo(pose, name=f"{i}.png") for i, pose in enumerate(orbit((0, 0, 0), 4.0, 0.4, 5))]
    box = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    points = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1)

    def export(file, resolution):
        if file.exists():
            raise ValueError("there is one already")
        sphere = trimesh.creation.icosphere(4)
        colors = torch.from_numpy(0.5 * sphere.vertices + 0.5)  # as the ball's
        save_mesh(Mesh(torch.from_numpy(sphere.vertices), torch.from_numpy(sphere.faces), colors), file)
        return f"{file.name}: done at {resolution}"

    viewer = Viewer(Content("ball", photos, box, folder, points, ball, export, unlit_glb), port=18180)
    page = Page(viewer.url, folder / "profile", SIZE)
    try:
        page.until(lambda: viewer.sessions, "the page to connect", 90)
        (session,) = viewer.sessions.values()
        page.click_at(288, 82)  # the notice that there is no GPU
        yield viewer, page, session
    finally:
        page.close()
        viewer.close()


def expected(session):
    """The picture, rendered directly, of the camera that the browser says it has; a slow browser may draw, and ask for,
    fewer pixels than it has."""
    view = View(session.pose, session.fov_degrees, *SIZE, session.mode.value)
    return paint(view, ball, session.content.photos).rgb.astype(float)


def agrees(page, session):
    """How far the screenshot is from the picture: the mean difference, of 255."""
    return np.abs(page.screenshot().astype(float) - expected(session))[FREE].mean()


def go(page, session, pose, fov_degrees=45.0):
    """Puts the camera there, and waits until the browser has said several times that it is: what it reported of an
    earlier place may still be on its way."""
    session.go_to(pose, fov_degrees)
    checks = []

    def settled():
        checks.append(torch.allclose(session.pose, pose, atol=1e-3))
        return len(checks) > 5 and all(checks[-5:])

    page.until(settled, "the camera to be there")


def test_the_scene_is_drawn_as_it_is_rendered(window):
    viewer, page, session = window
    page.until(lambda: agrees(page, session) < CLOSE, "the picture", 60)
    picture = page.screenshot()[FREE]
    assert np.ptp(picture.reshape(-1, 3), axis=0).min() > 60  # a ball, not a plain page
    assert not page.complaints


def test_the_camera_goes_where_it_is_put_and_moves_with_the_mouse(window):
    viewer, page, session = window
    pose = look_at((-3.0, 2.0, 1.5), (0.1, 0.2, 0.0))
    go(page, session, pose, 35.0)
    assert session.fov_degrees == pytest.approx(35.0, abs=1e-3)
    page.until(lambda: agrees(page, session) < CLOSE, "the picture from there")
    page.drag((300, 300), (420, 330))
    page.until(lambda: (session.pose[:, 3] - pose[:, 3]).norm() > 0.3, "the camera to move")
    page.until(lambda: agrees(page, session) < CLOSE, "the picture from where it has moved")
    assert not page.complaints


def test_a_control_changes_the_picture(window):
    viewer, page, session = window
    page.until(lambda: agrees(page, session) < CLOSE, "the picture")
    before = page.screenshot().astype(float)
    page.choose("rgb", "distance")
    page.until(lambda: session.mode.value == "distance", "the choice to arrive")
    page.until(lambda: agrees(page, session) < CLOSE, "the distances")
    assert np.abs(page.screenshot() - before)[FREE].mean() > 20
    page.choose("distance", "rgb")
    page.until(lambda: agrees(page, session) < CLOSE, "the colours again")
    assert not page.complaints


def test_cameras_and_box_are_drawn_over_the_picture(window):
    viewer, page, session = window
    go(page, session, look_at((-9.0, 0.0, 5.0), (0.0, 0.0, 0.0)), 50.0)
    page.until(lambda: agrees(page, session) < CLOSE, "the picture")
    before = page.screenshot().astype(float)
    session.resize_cameras(1.0)
    session.shown_cameras.value = True
    page.until(lambda: np.abs(page.screenshot() - before)[FREE].mean() > 1, "cameras to be drawn")
    session.shown_cameras.value = False
    page.until(lambda: agrees(page, session) < CLOSE, "cameras to be gone")
    session.box.shown.value = True
    page.until(lambda: np.abs(page.screenshot() - before)[FREE].mean() > 0.2, "the box to be drawn")
    session.box.move(np.array([[-2.0, 1.0, 0.0], [2.0, -1.0, 3.0]]))
    assert session.box.arguments.value == "--box -2 -1 0 2 1 3" and session.box.rows[1].value == (2.0, 1.0, 3.0)
    session.box.shown.value = False
    assert not page.complaints


def test_looking_through_a_photo_compares_with_it(window):
    viewer, page, session = window
    page.choose("0.png", "3.png")
    taken = session.content.photos[3]
    page.until(lambda: torch.allclose(session.pose, taken.pose, atol=1e-3), "the photo's camera")
    page.choose("rgb", "error")
    page.until(lambda: "3.png (in training)" in session.note.content, "the comparison")
    page.choose("error", "rgb")
    assert not page.complaints


@pytest.mark.reliability  # many waits for a browser
def test_a_path_is_made_played_saved_and_loaded(window):
    from nerfcore.data.camera_path import read_camera_path

    viewer, page, session = window
    page.click("Path")
    page.click("Save")
    page.until(lambda: "at least two keyframes" in page.evaluate("document.body.innerText"), "the error")
    for eye in ((4.0, 0.0, 1.0), (0.0, 4.0, 2.0)):
        pose = look_at(eye, (0.0, 0.0, 0.0))
        go(page, session, pose)
        count = len(session.path.keyframes.shots)
        page.click("Add keyframe")
        page.until(lambda count=count: len(session.path.keyframes.shots) == count + 1, "the keyframe")
    session.path.seconds.value = 0.5
    page.click("Save")
    file = session.content.folder / "camera_path.json"
    page.until(file.exists, "the file")
    path = read_camera_path(file)
    assert len(path.shots) == 12 and len(path.keyframes) == 2
    assert torch.allclose(path.shots[-1].pose.float(), pose, atol=1e-3) and (path.width, path.height) == (1280, 720)
    go(page, session, look_at((-4.0, 0.0, 0.5), (0.0, 0.0, 0.0)))
    page.click("Play")
    page.until(lambda: torch.allclose(session.pose, path.shots[-1].pose.float(), atol=1e-2), "the end of the path")
    page.until(lambda: session.path.play.label == "Play", "playing to end")
    page.click("Remove keyframe")
    page.until(lambda: len(session.path.keyframes.shots) == 1, "one keyframe to be left")
    page.click("Load")
    page.until(lambda: len(session.path.keyframes.shots) == 2, "the keyframes of the file")
    assert not page.complaints


@pytest.mark.reliability  # many waits for a browser
def test_the_mesh_is_exported_and_shown_where_the_model_is(window):
    """One of the ball, in its colours; then a file of another name, that is not there."""
    viewer, page, session = window
    go(page, session, look_at((1.5, 2.5, 1.0), (0.3, 0.2, 0.0)))
    page.click("Mesh")
    page.click("Export mesh")
    page.until(lambda: "mesh.glb: done at 256" in page.evaluate("document.body.innerText"), "the sentence on the mesh")
    page.until(lambda: session.mode.value == "mesh", "the mesh to be chosen")
    blank = View(session.pose, session.fov_degrees, *SIZE, "mesh")
    assert (paint(blank, ball, []).rgb == 255).all()  # so that what is seen now is the mesh
    truth = paint(replace(blank, mode="rgb"), ball, []).rgb[FREE].astype(float)

    def shows_the_mesh():
        picture = page.screenshot()[FREE].astype(float)
        there, expected = ((image < 250).any(-1) for image in (picture, truth))
        return (there != expected).mean() < 0.005 and np.abs(picture - truth).mean() < 10  # viser's tones are paler

    page.until(shows_the_mesh, "the mesh")
    page.click("View")
    page.choose("mesh", "rgb")
    session.mesh_file.value = "other.ply"
    page.choose("rgb", "mesh")
    page.until(lambda: "other.ply does not exist yet" in page.evaluate("document.body.innerText"), "the error")
    page.choose("mesh", "rgb")
    session.mesh_file.value = "mesh.glb"
    page.until(lambda: agrees(page, session) < CLOSE, "the colours again")
    page.click("Mesh")
    page.click("Export mesh")
    page.until(lambda: "there is one already" in page.evaluate("document.body.innerText"), "the error")
    page.click("View")
    page.evaluate("document.querySelectorAll('.mantine-Notification-closeButton').forEach((button) => button.click())")
    assert not page.complaints


@pytest.mark.reliability  # many waits for a browser
def test_the_box_is_dragged_by_the_arrows_of_its_corner(window):
    """Along x, by 0.4 world units: from the arrow of the high corner to where it is to be."""
    viewer, page, session = window
    pose = look_at((5.0, -3.0, 3.0), (0.5, 0.5, 0.5))
    session.box.move(session.box.given.copy())
    session.box.shown.value = True
    go(page, session, pose)
    arrow = torch.tensor([[1 + 0.15 / session.content.unit, 1.0, 1.0]])
    ends = torch.cat([arrow, arrow + torch.tensor([0.4, 0.0, 0.0])])
    pixel, _ = View(pose, 45.0, *SIZE).camera.project((ends - pose[:, 3]) @ pose[:, :3])
    page.drag(*(tuple(end) for end in pixel.tolist()))
    page.until(lambda: session.box.box[1, 0] > 1.3, "the corner to move")
    expected = np.array([[-1.0, -1.0, -1.0], [1.4, 1.0, 1.0]])
    page.until(lambda: np.allclose(session.box.box, expected, atol=0.05), "the corner to be there")
    session.box.shown.value = False
    assert not page.complaints
