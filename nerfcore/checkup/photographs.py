"""Photographs as a checkup sees them: small, with their cameras; their sharpness, their colours, and copies of them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import laplace
from torch import Tensor

from nerfcore.cameras.intrinsics import Camera
from nerfcore.checkup.agreement import Explained, View
from nerfcore.checkup.finding import Finding, count
from nerfcore.data.capture import Capture, Entry, WrongSize
from nerfcore.data.images import image_size, read_grey
from nerfcore.data.photo import ignored_pixels
from nerfcore.errors import SceneError

READER_THREADS = 4
VIEW_SIDE, SHARP_SIDE = 240, 960  # longest side of pictures that are compared, and whose sharpness is measured
MAX_STRETCH = 0.03  # between the aspects of a photo and of its intrinsics: what rounding of a resampled size leaves
FIELD_OF_VIEW = 5.0, 150.0  # degrees across the longer side, of a perspective lens
OFF_CENTRE, UNEQUAL = 0.15, 0.1  # share of the picture, and of the focal length
OPAQUE = 0.99
SAME_PICTURE = 2.0 / 255  # largest difference of 24 x 24 mean colours
BLURRED = 0.6  # of its neighbours' sharpness, or less, and beyond four times the usual spread
SURE, SHARED = 0.85, 5  # correlation of patches whose colours are compared, and how many a pair must have
RATIO_ERROR, USUAL_GAIN = 0.02, 0.3  # of a ratio, whatever its patches say, and of a gain: logarithms
CLEAR = 2.0  # standard errors
EXPOSURE_SPREAD, BALANCE_SPREAD = 0.15, 0.1  # of natural logarithms, from the least to the most


@dataclass(frozen=True)
class Photo:
    """One that can be read. split: whose it is. camera: at the file's size; mended: whether it had to be put right.
    sharpness: share of fine detail in what detail it has, a logarithm."""

    entry: Entry
    split: str
    camera: Camera
    mended: bool
    view: View
    sharpness: float

    @property
    def name(self) -> str:
        return self.entry.name


def read_photos(capture: Capture, on_photo=None) -> tuple[list[Photo], list[Finding]]:
    """The photographs that can be read, by name, and what is wrong with files and intrinsics."""
    listed = [(split, entry) for split, entries in capture.splits.items() for entry in entries]
    photos, findings, strange = [], [], {}
    with ThreadPoolExecutor(READER_THREADS) as pool:
        for found in pool.map(lambda pair: _read(*pair), listed):
            if isinstance(found, Photo):
                photos.append(found)
                if problem := _implausible(found.camera):
                    strange.setdefault(problem, []).append(found.name)
            else:
                findings.append(found)
            if on_photo is not None:
                on_photo(len(photos) + len(findings), len(listed))
    photos.sort(key=lambda photo: photo.name)
    mended = tuple(photo.name for photo in photos if photo.mended)
    if mended:
        findings.append(Finding(
            "image size", "severe", f"{count(len(mended), 'photo')} not quite of the shape that the intrinsics say",
            "training refuses photos that are not an exact rescale of what was calibrated",
            "--apply stretches the intrinsics to the photos; or use the photos that were calibrated", mended, True,
        ))
    for problem, whose in strange.items():
        findings.append(Finding(
            "intrinsics", "warning", problem,
            "rays then leave the camera in wrong directions and nothing fits together",
            "calibrate again (fl_x, fl_y, cx, cy are pixels of the photo of w x h), or train with --refine cameras",
            tuple(whose),
        ))
    return photos, [*findings, *_mixed_sizes(photos)]


def _read(split: str, entry: Entry) -> Photo | Finding:
    try:
        width, height = image_size(entry.path)
        try:
            camera, mended = entry.camera(width, height), False
        except WrongSize as error:
            camera, mended = error.camera, True
            if not _is_stretched(camera, width, height):
                return _wrong_size(entry, camera, width, height)
            camera = camera.resized(width, height)
        _refuse_folded(camera)
        return _small(split, entry, camera, mended)
    except (SceneError, OSError) as error:
        return Finding(
            "unreadable", "severe", " ".join(str(error).split()), "training refuses the whole capture",
            "replace the file or correct what is named; --apply leaves the photo out", (entry.name,), True,
        )


def _refuse_folded(camera: Camera) -> None:
    """Raises SceneError if the distortion leaves a pixel that the lens should cover without a ray."""
    across = torch.linspace(0, 1, 17, dtype=torch.float64)
    pixel = torch.cartesian_prod(across * camera.width, across * camera.height)
    camera.unproject(pixel[camera.covers(pixel)])


def _is_stretched(camera: Camera, width: int, height: int) -> bool:
    """Whether a photo of that size is what was calibrated but for rounding."""
    if min(camera.width, camera.height) < 1:
        return False
    return abs(math.log(width / camera.width * camera.height / height)) <= MAX_STRETCH


def _wrong_size(entry: Entry, camera: Camera, width: int, height: int) -> Finding:
    turned = _is_stretched(camera, height, width)
    fix = "turn the photo back, or write w, h, cx, cy, fl_x and fl_y for the turned one" if turned else (
        "use the photos that were calibrated: cropping moves cx and cy, which cannot be guessed"
    )
    return Finding(
        "image size", "severe",
        f"{entry.name} is {width}x{height} but its intrinsics say {camera.width}x{camera.height}"
        + (": it lies on its side" if turned else ""),
        "training refuses it: no ray would meet the right pixel", f"{fix}; --apply leaves the photo out",
        (entry.name,), True,
    )


def _small(split: str, entry: Entry, camera: Camera, mended: bool) -> Photo:
    with Image.open(entry.path) as image:
        if image.format == "JPEG":
            image.draft("RGB", _within(image.size, 2 * SHARP_SIDE))  # decoded at half or a quarter of the size
        if image.mode in ("I", "I;16", "F"):
            image = image.point(lambda value: value / 257).convert("L")
        has_alpha = "A" in image.getbands() or "transparency" in image.info
        image = image.convert("RGBA" if has_alpha else "RGB")
    size = _within(image.size, SHARP_SIDE)
    fine = _composited(image.resize(size, Image.BOX))
    width, height = _within(image.size, VIEW_SIDE)
    pixels = _composited(image.resize((width, height), Image.BOX))
    alpha = pixels[:, :, 3] > 0.5
    full = camera.width, camera.height
    if entry.alpha is not None:
        alpha &= _mask(read_grey(entry.alpha, *full, entry.path) > 127, width, height)
    if (ignored := ignored_pixels(entry, camera)) is not None:
        alpha &= _mask(~ignored, width, height)
    view = View(
        torch.from_numpy(pixels[:, :, :3]), torch.from_numpy(alpha), camera.resized(width, height), entry.pose
    )
    return Photo(entry, split, camera, mended, view, sharpness(fine[:, :, :3].mean(2), fine[:, :, 3] > OPAQUE))


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _composited(image: Image.Image) -> np.ndarray:
    """[H, W, 4] float32, colours over grey where there is alpha."""
    pixels = np.asarray(image.convert("RGBA"), np.float32) / 255
    alpha = pixels[:, :, 3:]
    return np.concatenate([pixels[:, :, :3] * alpha + 0.5 * (1 - alpha), alpha], 2)


def _mask(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.NEAREST))


def sharpness(grey: np.ndarray, counts: np.ndarray) -> float:
    """Logarithm of the energy of second differences over that of first ones, [H, W] grey values where ``counts``.

    Blur takes the finest detail first; contrast and brightness cancel. NaN where nothing is to be seen.
    """
    down, right = np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1]
    whole = counts[:-1, :-1] & counts[1:, :-1] & counts[:-1, 1:]
    first = ((down**2 + right**2) * whole).sum()
    second = (laplace(grey)[:-1, :-1] ** 2 * whole).sum()
    return math.log(second / first) if first > 1e-6 * whole.sum() and second > 0 else math.nan


def _implausible(camera: Camera) -> str | None:
    """What is odd about a camera."""
    width, height = camera.width, camera.height
    if camera.lens.name == "perspective":
        longer = max(width / camera.fl_x, height / camera.fl_y)
        angle = math.degrees(2 * math.atan(0.5 * longer))
        if not FIELD_OF_VIEW[0] <= angle <= FIELD_OF_VIEW[1]:
            return f"the focal length {camera.fl_x:.4g} means that {width}x{height} photos are {angle:.3g}° wide"
    off = max(abs(camera.cx / width - 0.5), abs(camera.cy / height - 0.5))
    if off > OFF_CENTRE:
        centre = f"({camera.cx:.4g}, {camera.cy:.4g})"
        return f"the optical centre {centre} is {off:.0%} off the middle of {width}x{height} photos"
    ratio = camera.fl_x / camera.fl_y
    if camera.lens.name != "equirectangular" and abs(math.log(ratio)) > UNEQUAL:
        return f"fl_x is {ratio:.2f} times fl_y: pixels of photos are square"
    return None


def _mixed_sizes(photos: list[Photo]) -> list[Finding]:
    """One set of intrinsics for photos of several sizes."""
    by_calibration: dict[str, dict[tuple[int, int], list[str]]] = {}
    for photo in photos:
        if photo.entry.calibration is not None:
            sizes = by_calibration.setdefault(photo.entry.calibration, {})
            sizes.setdefault((photo.camera.width, photo.camera.height), []).append(photo.name)
    findings = []
    for sizes in by_calibration.values():
        if len(sizes) > 1:
            rare = sorted(sizes, key=lambda size: -len(sizes[size]))[1:]
            findings.append(Finding(
                "mixed sizes", "severe", "photos of one set of intrinsics have several sizes: "
                + ", ".join(f"{w}x{h} ({len(sizes[w, h])})" for w, h in sizes),
                "training refuses them, for one of the sizes may be a crop",
                "--apply writes intrinsics for each photo, if all are rescaled and none is a crop",
                tuple(name for size in rare for name in sizes[size]), True,
            ))
    return findings


def copies(photos: list[Photo], agreement: np.ndarray) -> tuple[list[Finding], list[int]]:
    """Photographs that are there more than once, and which of them are to go: of each group, all but that which agrees
    best with others."""
    small = torch.stack([_tiny(photo.view) for photo in photos])
    same = torch.cdist(small, small, p=math.inf) < SAME_PICTURE
    groups, extra = [], []
    for i in range(len(photos)):
        others = torch.nonzero(same[i]).flatten().tolist()
        if i == others[0] and len(others) > 1:
            groups.append(others)
            best = max(others, key=lambda j: np.nan_to_num(agreement[j], nan=-1.0))
            extra += [j for j in others if j != best]
    if not groups:
        return [], []
    text = "; ".join(" = ".join(photos[i].name for i in group) for group in groups[:6])
    return [Finding(
        "duplicate photos", "warning", f"{count(len(extra), 'photo')} of {len(photos)} are copies: {text}",
        "they count twice, a held-out copy of a training photo makes scores too good, and of two poses one is wrong",
        "remove all but one of each; --apply does", tuple(photos[i].name for i in extra), True,
    )], extra


def _tiny(view: View) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(view.rgb.movedim(-1, 0)[None], (24, 24)).flatten()


def blurred(photos: list[Photo], among: list[list[int]]) -> tuple[list[Finding], list[int]]:
    """Photographs less sharp than others of the same things."""
    sharp = np.array([photo.sharpness for photo in photos])
    others = [sharp[near][np.isfinite(sharp[near])] for near in among]
    gap = np.array([s - np.median(near) if len(near) > 2 else np.nan for s, near in zip(sharp, others, strict=True)])
    usual = gap[np.isfinite(gap)]
    if not len(usual):
        return [], []
    limit = min(math.log(BLURRED), -4 * spread(usual))
    found = [int(i) for i in np.argsort(gap) if gap[i] < limit]
    if not found:
        return [], []
    listed = ", ".join(f"{photos[i].name} ({math.exp(gap[i]):.0%})" for i in found[:6])
    return [Finding(
        "blur", "warning",
        f"{count(len(found), 'photo')} less sharp than those of the same things: {listed} of their detail",
        "the field learns the blur too", "take them again or leave them out: --apply --drop-blurred",
        tuple(photos[i].name for i in found), True,
    )], found


def spread(values: np.ndarray) -> float:
    """A standard deviation that outliers do not change: 1.48 times the median deviation from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def exposures(photos: list[Photo], explained: list[Explained | None]) -> tuple[list[Finding], np.ndarray]:
    """What colours of photographs say of exposure and white balance, and logarithms of their gains [N, 3].

    Photos that show the same patch differ by the ratio of their gains, here the median over the patches of a pair,
    with the error that their deviations leave. The gains are the weighted least-squares solution of all such ratios,
    taken to be about 1. NaN for photos that share too few patches.
    """
    pairs, ratios, errors = [], [], []
    for i, found in enumerate(explained):
        for k, j in enumerate(found.among if found else []):
            shared = found.log_ratio[k][found.each[k] > SURE].numpy()
            if len(shared) >= SHARED:
                middle = np.median(shared, axis=0)
                pairs.append((i, j))
                ratios.append(middle)
                errors.append((1.4826 * np.median(np.abs(shared - middle)) + RATIO_ERROR) / len(shared) ** 0.5)
    known = sorted({i for pair in pairs for i in pair})
    gains = np.full((len(photos), 3), np.nan)
    if not pairs:
        return [], gains
    difference = np.zeros((len(pairs), len(known)))
    for row, (i, j) in enumerate(pairs):
        difference[row, known.index(i)], difference[row, known.index(j)] = -1, 1
    weighted = difference / np.array(errors)[:, None]
    moment = weighted.T @ weighted + np.eye(len(known)) / USUAL_GAIN**2
    solved = np.linalg.solve(moment, weighted.T @ (np.array(ratios) / np.array(errors)[:, None]))
    gains[known] = solved
    apart = np.eye(len(known)) - 1 / len(known)  # what all have in common shows in no ratio
    certain = CLEAR * np.diag(apart @ np.linalg.inv(moment) @ apart) ** 0.5 < BALANCE_SPREAD
    return _uneven([photos[i] for i in np.array(known)[certain]], solved[certain]), gains


def _uneven(photos: list[Photo], gains: np.ndarray) -> list[Finding]:
    """What there is to say of gains [N, 3]."""
    if not len(photos):
        return []
    findings, brightness = [], gains.mean(1)
    if np.ptp(brightness) > EXPOSURE_SPREAD:
        ends = tuple(photos[i].name for i in (brightness.argmin(), brightness.argmax()))
        findings.append(Finding(
            "exposure", "warning",
            f"the same things are up to {math.exp(np.ptp(brightness)):.2f} times as bright in one photo as in another "
            f"(darkest {ends[0]}, brightest {ends[1]})",
            "the field explains it with fog and floaters",
            "train with --appearance exposure; lock the exposure next time", ends,
        ))
    tint = gains - brightness[:, None]
    channel = int(np.ptp(tint, 0).argmax())
    if np.ptp(tint[:, channel]) > BALANCE_SPREAD:
        ends = tuple(photos[i].name for i in (tint[:, channel].argmin(), tint[:, channel].argmax()))
        findings.append(Finding(
            "white balance", "warning",
            f"{('red', 'green', 'blue')[channel]} differs by up to {math.expm1(np.ptp(tint[:, channel])):.0%} between "
            f"photos of the same things ({ends[0]}, {ends[1]})",
            "surfaces take on the colours of the light meter",
            "train with --appearance affine; lock the white balance next time", ends,
        ))
    return findings
