"""Procedural objects: pictures against an independent tracer and closed forms, captions against what stands where."""

import re

import pytest
import torch
import torch.nn.functional as F

from nerfcore.cameras import Camera, camera_rays
from nerfcore.cameras.poses import look_at
from nerfcore.data import shapes as module
from nerfcore.data.shapes import (
    ATTRIBUTES,
    BOX,
    COLOURS,
    KINDS,
    RADII,
    RELATIONS,
    Shapes,
    default_camera,
    shapes_examples,
)
from nerfcore.errors import SceneError
from nerfcore.mesh.level_set import extract_level_set
from nerfcore.synthetic import Solid, trace_solids

SHAPES = Shapes(3)


def with_things(count, number=400):
    return [index for index in range(number) if len(SHAPES.scene(index).things) == count]


# ---- scenes and captions


def test_a_scene_does_not_depend_on_what_else_is_asked_for():
    alone = Shapes(3).scene(17)
    assert SHAPES.scene(17) == alone and Shapes(4).scene(17) != alone and SHAPES.scene(18) != alone
    views = SHAPES.render([5, 17, 40]).pictures
    off = (SHAPES.render([17]).pictures[0].int() - views[1].int()).abs()
    assert off.median() == 0 and (off > 1).float().mean() < 1e-3  # vector units round otherwise than scalars
    assert torch.equal(SHAPES.poses([17, 2], 1)[0], SHAPES.poses([17], 1)[0])


def test_captions_say_what_stands_where():
    """The grammar, read by a regular expression, gives back the scene."""
    words = {name: "|".join(options) for name, options in ATTRIBUTES.items() if name != "arrangement"}
    noun = r"an? (?:(?:{size}) )?(?:(?:{material}) )?(?:{colour}) (?:{shape})".format(**words)
    relation = "|".join(RELATIONS)
    sentence = re.compile(rf"({noun})(?: ({relation}) ({noun})(?: and ({relation}) ({noun}))?)?")
    seen = set()
    for index in range(300):
        scene = SHAPES.scene(index)
        match = sentence.fullmatch(scene.caption)
        assert match, scene.caption
        parts = match.groups()
        nouns = [part for part in parts[::2] if part]
        assert len(nouns) == len(scene.things) and tuple(part for part in parts[1::2] if part) == scene.relations
        for said, thing in zip(nouns, scene.things, strict=True):
            assert said.endswith(f"{thing.colour} {thing.shape}")
            assert not set(said.split()) & ({*RADII, *module.MATERIALS} - {thing.size, thing.material})
            assert said.split()[0] == ("an" if said.split()[1][0] in "aeiou" else "a")
        assert f" {scene.things[0].size} " in nouns[0]
        seen |= {thing.shape for thing in scene.things} | set(scene.relations)
    assert seen == {*KINDS, *RELATIONS}


@pytest.mark.parametrize("relation", RELATIONS)
def test_arrangements_are_as_the_first_view_sees_them(relation):
    """In the camera's own axes: x right, y up, -z away."""
    found = [i for i in range(600) if SHAPES.scene(i).relations[:1] == (relation,)][:20]
    assert len(found) == 20
    for index, pose in zip(found, SHAPES.poses(found), strict=True):
        first, second = (torch.tensor(thing.centre) for thing in SHAPES.scene(index).things[:2])
        right, up, nearer = ((second - first) @ pose[:, :3]).tolist()
        if relation in ("left of", "right of"):
            assert (right if relation == "left of" else -right) > 0.8 * torch.dist(first, second)
        elif relation == "on top of":
            assert up < -0.1 and abs(right) < 1e-6
        else:
            assert (nearer if relation == "behind" else -nearer) > 0.5


def test_the_first_object_is_nearest_to_the_middle_of_the_picture():
    camera, found = default_camera(), with_things(2) + with_things(3)
    for index, pose in zip(found, SHAPES.poses(found), strict=True):
        centres = torch.tensor([thing.centre for thing in SHAPES.scene(index).things])
        pixel, _ = camera.project((centres - pose[:, 3]) @ pose[:, :3])
        from_middle = (pixel - 32).norm(dim=1)
        assert from_middle[0] < from_middle[1:].min(), SHAPES.scene(index).caption


def test_objects_do_not_meet_but_may_touch():
    """No point is within two of them, and those on top of one another touch."""
    points = torch.rand(40000, 3, generator=torch.Generator().manual_seed(0)) * 5.2 - 2.6
    for index in with_things(3)[:15] + with_things(2)[:15]:
        scene = SHAPES.scene(index)
        apart = [alone(thing) for thing in scene.things]
        inside = sum((distance(points) < -1e-5).long() for distance in apart)
        assert inside.max() == 1, scene.caption
        for relation, distance in zip(scene.relations, apart[1:], strict=True):
            if relation == "on top of":
                foot = -KINDS[scene.things[0].shape].down * scene.things[0].radius
                assert abs(foot - top_of(scene.things[1])) < 1e-5
                assert distance(torch.tensor([[0.0, 0.0, foot - 0.3 * scene.things[1].radius]])) < 0.3


def alone(thing):
    """The signed distance of one thing of a scene, by itself."""
    return module.distance_to((thing,))


def top_of(thing):
    return thing.centre[2] + KINDS[thing.shape].up * thing.radius


def test_attributes_are_used_equally():
    scenes = [SHAPES.scene(index) for index in range(4000)]
    for name, options in ATTRIBUTES.items():
        counts = torch.tensor([options.index(scene.attribute(name)) for scene in scenes]).bincount().double()
        expected = counts.mean() if name != "arrangement" else counts[1:].mean()
        spread = (counts[name == "arrangement" :] - expected).abs().max() / expected.sqrt()
        assert len(counts) == len(options) and spread < 4, (name, counts)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("proportion", [-1.0, 0.3, 1.0])
def test_kinds_are_1_lipschitz_and_as_large_as_they_say(name, proportion):
    kind = KINDS[name]
    p = 2.8 * torch.rand(20000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1.4
    u = torch.full((len(p),), proportion, dtype=torch.float64)
    distance = kind.distance(p, u)
    q = p.roll(1, 0)
    assert ((distance - distance.roll(1)).abs() <= (p - q).norm(dim=1) + 1e-9).all()
    on = p - distance[:, None] * slope(kind, p, u)  # those near a surface are brought onto it
    on = on[(distance.abs() < 0.1) & (kind.distance(on, u).abs() < 1e-6)]
    assert len(on) > 500
    assert 0.9 * kind.reach < on.norm(dim=1).max() <= kind.reach + 1e-6
    assert on[:, 2].max() == pytest.approx(kind.up, abs=0.08) and on[:, 2].min() == pytest.approx(-kind.down, abs=0.08)


def slope(kind, p, u):
    p = p.clone().requires_grad_()
    return torch.autograd.grad(kind.distance(p, u).sum(), p)[0]


# ---- pictures


def test_a_sphere_is_where_the_quadratic_equation_says():
    index = next(i for i in with_things(1) if SHAPES.scene(i).things[0].shape == "sphere")
    views, pose, camera = SHAPES.render([index]), SHAPES.poses([index])[0].double(), default_camera()
    rays, radius = camera_rays(camera, pose), 0.92 * SHAPES.scene(index).things[0].radius
    half_b = (rays.origin * rays.direction).sum(1)
    inside = half_b**2 - rays.origin.square().sum(1) + radius**2
    hit = views.distance.flatten() > 0
    assert hit.sum() > 80 and (hit != (inside > 0)).sum() <= 4  # rays that graze it
    sure = hit & (inside > 1e-2)
    t = -half_b[sure] - inside[sure].sqrt()
    assert (views.distance.flatten()[sure] - t).abs().max() < 5e-3
    assert (views.z_depth.flatten()[sure] - t * rays.z_scale[sure]).abs().max() < 5e-3


def test_scenes_are_traced_as_the_tracer_of_one_solid_does():
    """In float64 and to 1e-10, solid after solid; from other sides than the first."""
    indices = with_things(3)[:4] + with_things(2)[:4]
    poses = SHAPES.poses(indices, 2)
    views = SHAPES.render(indices, poses)
    for i, index in enumerate(indices):
        solids = [
            Solid("", alone(thing), lambda p: p, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 3.0)
            for thing in SHAPES.scene(index).things
        ]
        truth = trace_solids(solids, camera_rays(default_camera(), poses[i].double()))
        found, expected = views.distance[i].flatten().double(), truth.distance
        both = (found > 0) & (expected > 0)
        assert both.sum() > 150 and ((found > 0) != (expected > 0)).sum() < 0.06 * both.sum() + 3
        off = (found - expected).abs()[both]
        assert off.median() < 1e-3 and (off < 5e-3).double().mean() > 0.97  # some graze an edge


def test_any_camera_may_look():
    """A wide and turned view of the same scene shows a known point of it where the camera projects it."""
    index = next(i for i in with_things(1) if SHAPES.scene(i).things[0].shape == "cone")
    cone = SHAPES.scene(index).things[0]
    camera = Camera(64, 64, 50.0, 50.0, 30.0, 34.0)
    pose = look_at((3.0, -1.5, 0.5), (0.0, 0.2, 0.1))
    views = SHAPES.render([index], pose[None], camera=camera)
    tip = torch.tensor([[0.0, 0.0, 0.9 * cone.radius]])
    pixel, _ = camera.project((tip - pose[:, 3]) @ pose[:, :3])
    rows, columns = (views.distance[0] > 0).nonzero().unbind(1)
    top = rows.min()
    assert abs(top + 0.5 - pixel[0, 1]) < 2 and abs(columns[rows == top].float().mean() + 0.5 - pixel[0, 0]) < 1.5


def test_a_camera_that_looks_away_sees_the_background():
    views = SHAPES.render([0], look_at((0.0, -5.0, 0.0), (0.0, -9.0, 0.0))[None])
    assert not views.distance.any() and not views.z_depth.any() and views.pictures.unique().numel() == 1


def test_a_larger_picture_shows_the_same():
    """Apart from outlines, which it draws finer."""
    usual, large = (SHAPES.render(range(8), size=size).pictures.double() for size in (64, 128))
    apart = (F.avg_pool2d(large, 2) - usual).abs().amax(1)
    assert large.shape == (8, 3, 128, 128) and (apart < 12).double().mean() > 0.95


def test_smaller_pictures_are_means_and_nearest_distances():
    indices = list(range(12))
    large, small = SHAPES.render(indices), SHAPES.render(indices, size=16)
    means = F.avg_pool2d(large.pictures.double(), 4)
    assert (small.pictures - means).abs().max() <= 1.0  # each is rounded once
    hit = torch.where(large.distance > 0, large.distance, torch.inf)
    nearest = -F.max_pool2d(-hit, 4)
    assert torch.equal(small.distance, torch.where(nearest.isfinite(), nearest, 0))


def test_background_colour_and_attributes_show():
    """Where nothing is hit it is light grey; hues are those that captions name; large is larger, shiny is brighter."""
    indices = with_things(1)
    views = SHAPES.render(indices)
    pictures, hit = views.pictures, views.distance > 0
    grey = round(255 * module.BACKGROUND)
    assert (pictures.permute(0, 2, 3, 1)[~hit] == grey).all()
    area, brightest, guessed = {}, {}, []
    palette = torch.tensor(list(COLOURS.values()))
    for i, index in enumerate(indices):
        thing = SHAPES.scene(index).things[0]
        own = pictures[i][:, hit[i]].float() / 255
        area.setdefault((thing.shape, thing.size), []).append(len(own[0]))
        brightest.setdefault((thing.colour, thing.material), []).append(own.amin(0).max().item())
        linear = own.median(1).values ** 2.2
        cosines = F.cosine_similarity(linear[None], palette, dim=1)
        guessed.append(tuple(COLOURS)[cosines.argmax()] == thing.colour)
    for shape in KINDS:
        assert min(area[shape, "large"]) > 1.5 * max(area[shape, "small"])
    mean = {key: sum(values) / len(values) for key, values in brightest.items()}
    assert all(mean[colour, "shiny"] > mean[colour, "matte"] + 0.1 for colour in COLOURS)
    assert sum(guessed) / len(guessed) > 0.9


def test_each_pixel_has_the_colour_of_the_object_that_it_shows():
    """By the point that its distance leads to; matte objects have no light but that of their albedo."""
    found = [i for i in with_things(2) if all(thing.material == "matte" for thing in SHAPES.scene(i).things)]
    found = [i for i in found if SHAPES.scene(i).relations[0] in ("behind", "in front of")][:10]
    poses, views, wrong, shown = SHAPES.poses(found), SHAPES.render(found), 0, 0
    for i, index in enumerate(found):
        things, hit = SHAPES.scene(index).things, views.distance[i].flatten() > 0
        rays = camera_rays(default_camera(), poses[i])
        points = rays.origin + views.distance[i].flatten()[:, None] * rays.direction
        owner = torch.stack([alone(thing)(points[hit]).abs() for thing in things]).argmin(0)
        albedo = torch.tensor([COLOURS[thing.colour] for thing in things])[owner]
        colours = (views.pictures[i].flatten(1).T[hit] / 255) ** 2.2
        wrong += (F.cosine_similarity(colours, albedo, dim=1) < 0.98).sum().item()
        shown += hit.sum().item()
    assert len(found) == 10 and wrong < 0.002 * shown


def test_sizes_and_cameras_that_cannot_be_drawn():
    with pytest.raises(SceneError, match="20 pixels a side; choose 16, 32, 64, 128"):
        SHAPES.render([0], size=20)
    with pytest.raises(ValueError, match="camera must be of 64 x 64"):
        SHAPES.render([0], camera=Camera(32, 32, 50.0, 50.0, 16.0, 16.0))
    with pytest.raises(ValueError, match="one for each index"):
        SHAPES.render([0, 1], SHAPES.poses([0]))


def test_mesh_of_a_scene():
    """Marching cubes of its distance: a torus has genus 1, and every vertex lies on the surface."""
    index = next(i for i in with_things(1) if SHAPES.scene(i).things[0].shape == "torus")
    distance = SHAPES.signed_distance(index)
    mesh = extract_level_set(distance, *BOX, resolution=97, backend="reference")
    edges = torch.cat([mesh.faces[:, pair].sort(1).values for pair in ([0, 1], [1, 2], [2, 0])]).unique(dim=0)
    assert len(mesh.vertices) - len(edges) + len(mesh.faces) == 0
    assert distance(mesh.vertices).abs().max() < 0.01


# ---- examples


def test_splits_have_no_scene_in_common_and_are_kept(tmp_path, monkeypatch):
    train, test = (shapes_examples(split, 16, 30, cache=tmp_path) for split in ("train", "test"))
    assert train.shape == (3, 16, 16) and len(train.captions) == 30 and train.label_names == tuple(KINDS)
    assert not any(torch.equal(a, b) for a in train.pictures for b in test.pictures)
    assert train.captions[4] == Shapes(0).scene(4).caption
    assert torch.equal(train.pictures, Shapes(0).render(range(30), size=16).pictures)
    assert torch.equal(train.labels, train.attributes["shape"]) and set(train.attributes) == set(ATTRIBUTES)
    drawn = []
    monkeypatch.setattr(Shapes, "render", lambda *others, **named: drawn.append(1))
    again = shapes_examples("train", 16, 30, cache=tmp_path)
    assert torch.equal(again.pictures, train.pictures) and again.captions == train.captions and not drawn


def test_a_damaged_or_forbidden_cache_is_drawn_over(tmp_path):
    train = shapes_examples("train", 16, 5, cache=tmp_path)
    (kept,) = tmp_path.glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-7])
    assert torch.equal(shapes_examples("train", 16, 5, cache=tmp_path).pictures, train.pictures)
    (tmp_path / "file").touch()
    assert torch.equal(shapes_examples("train", 16, 5, cache=tmp_path / "file").pictures, train.pictures)


def test_views_of_an_object_stand_together(tmp_path):
    examples = shapes_examples("train", 16, 3, views=2, cache=tmp_path)
    single = shapes_examples("train", 16, 3, cache=tmp_path)
    assert len(examples) == 6 and torch.equal(examples.pictures[::2], single.pictures)
    assert examples.captions[2] == examples.captions[3] == single.captions[1]
    assert not torch.equal(examples.pictures[0], examples.pictures[1])
