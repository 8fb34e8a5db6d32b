"""Damaged files: whatever a reader is given, only a SceneError leaves it."""

import copy
import io
import json
import random
import shutil
import warnings

import numpy as np
import pytest

from nerfcore.data import PixelSampler, load_scene
from nerfcore.errors import SceneError
from tests.data import captures

CASES, SAMPLE = 2000, 40  # of a form: under `make test-reliability`, and in every run
STRANGE = (
    None, True, "", "x", -1, 0, 0.5, 1e-320, 1e30, 1e308, -1e400, float("nan"), 10**400, [], [[]], {}, "\ud800", "a\0b",
    "../" * 60, "n" * 5000, [1, 2, 3], [["a"] * 4] * 4, "OPENCV_FISHEYE", "EQUIRECTANGULAR", "FULL_OPENCV",
)
KEYS = (
    "fl_x", "k1", "k2", "k3", "k4", "k5", "p1", "w", "h", "camera_model", "is_fisheye", "latlong", "camera_angle_x", "scale",
    "offset", "aabb", "aabb_scale", "mask_path", "depth_file_path", "depth_unit_scale_factor", "ply_file_path",
    "fisheye_crop_radius", "train_filenames", "test_filenames", "perFrameIntrinsicCoeffs", "applied_transform",
)


def mutate_bytes(data: bytes, choice: random.Random) -> bytes:
    """One to four changes: a byte, a number, a cut, a repetition, noise."""
    data = bytearray(data)
    for _ in range(choice.randint(1, 4)):
        at, to = sorted(choice.randrange(len(data) + 1) for _ in range(2))
        kind = choice.randrange(6)
        if kind == 0 and at < len(data):
            data[at] = choice.randrange(256)
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << choice.randrange(8)
        elif kind == 2:
            data[at : at + 8] = choice.choice((bytes(8), b"\xff" * 8, b"\0\0\0\0\0\0\xf0\x7f", b"\0\0\0\0\0\0\xf8\x7f"))
        elif kind == 3:
            del data[at : min(to, at + 40)]
        elif kind == 4:
            data[at:at] = data[at : min(to, at + 40)]
        elif choice.random() < 0.3:
            del data[at:]
    return bytes(data)


def mutate_text(text: str, choice: random.Random) -> str:
    """One word becomes another."""
    words = text.split(" ")
    words[choice.randrange(len(words))] = choice.choice(("nan", "-inf", "1e400", "9" * 400, "", "x", "-3", "0", "#", "\n"))
    return " ".join(words)


def mutate_json(table: object, choice: random.Random) -> object:
    """One value, somewhere, becomes another, comes or goes."""
    table = copy.deepcopy(table)
    place = table
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return table
        key = choice.choice(keys)
        if not isinstance(place[key], (dict, list)) or choice.random() < 0.2:
            break
        place = place[key]
    change = choice.randrange(4)
    if change == 0:
        del place[key]
    elif change == 1 and isinstance(place, dict):
        place[choice.choice(KEYS)] = choice.choice(STRANGE)
    elif change == 2 and isinstance(place, list):
        place.insert(key, choice.choice(STRANGE))
    else:
        place[key] = choice.choice(STRANGE)
    return table


def mutate_array(data: bytes, choice: random.Random) -> bytes:
    """A number of an array, or its shape, becomes another; or an array of an archive goes: checksums do not tell."""
    found = np.load(io.BytesIO(data))
    arrays = dict(found) if isinstance(found, np.lib.npyio.NpzFile) else {"": found.copy()}
    name = choice.choice(list(arrays))
    kind = choice.randrange(8)
    if kind == 0:
        arrays[name] = arrays[name].reshape(-1)[: choice.randrange(20)]
    elif kind == 1 and len(arrays) > 1:
        del arrays[name]
    elif kind == 2:
        arrays[name] = arrays[name].astype(choice.choice(("U8", "complex128", "int8", "bool", "float16")))
    else:
        place = choice.randrange(arrays[name].size)
        arrays[name].reshape(-1)[place] = choice.choice((np.nan, np.inf, 0.0, -1.0, 1e-300, 1e12, 1e300, 1e5))
    out = io.BytesIO()
    np.save(out, arrays[""]) if "" in arrays else np.savez(out, **arrays)
    return out.getvalue()


def mutate(data: bytes, suffix: str, choice: random.Random) -> bytes:
    if suffix == ".json" and choice.random() < 0.75:
        return json.dumps(mutate_json(json.loads(data), choice)).encode()
    if suffix in (".txt", ".ply") and choice.random() < 0.5:
        return mutate_text(data.decode(), choice).encode()
    if suffix in (".npy", ".npz") and choice.random() < 0.7:
        return mutate_array(data, choice)
    return mutate_bytes(data, choice)


def nerfstudio_with_points(folder, count):
    captures.nerfstudio(folder, count, ply_file_path="points.ply")
    header = "ply\nformat ascii 1.0\nelement vertex 60\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    rows = [" ".join(map(str, row[:3])) for row in captures.points(60).tolist()]
    (folder / "points.ply").write_text(header + "\n".join(rows) + "\n")


def damage(form, folder, cases, first_seed=0):
    """Loads so many damaged copies of a capture; returns how many were refused."""
    write = {**captures.FORMS, "nerfstudio": nerfstudio_with_points}[form]
    write(folder / "whole", 3)
    load_scene(folder / "whole")
    shutil.copytree(folder / "whole", folder / "damaged")
    described = [
        path for path in sorted((folder / "whole").rglob("*")) if path.suffix in (".json", ".npy", ".npz", ".bin", ".txt", ".ply")
    ]
    refused = 0
    for seed in range(first_seed, first_seed + cases):
        choice = random.Random(seed)
        file = choice.choice(described)
        damaged = folder / "damaged" / file.relative_to(folder / "whole")
        damaged.write_bytes(mutate(file.read_bytes(), file.suffix, choice))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                PixelSampler(load_scene(folder / "damaged").train)
        except SceneError as error:
            refused += 1
            assert "\n" not in str(error), f"seed {seed} of {form}: {error}"
        except BaseException as error:
            raise AssertionError(f"seed {seed} of {form}, in {file.name}: {error!r} is no SceneError") from error
        shutil.copyfile(file, damaged)
    return refused


@pytest.mark.parametrize("form", captures.FORMS)
def test_a_sample_of_damaged_files(tmp_path, form):
    assert damage(form, tmp_path, SAMPLE) > SAMPLE / 10


@pytest.mark.reliability
@pytest.mark.parametrize("form", captures.FORMS)
def test_damaged_files(tmp_path, form):
    assert damage(form, tmp_path, CASES, first_seed=SAMPLE) > CASES / 10
