"""Structure from motion by pycolmap: features, matches, and a model of cameras and points.

What is found goes to a database at once and is not sought again: whoever is interrupted goes on where they were.
Schönberger and Frahm, Structure-from-Motion Revisited (2016); for ``mapping="global"`` Pan et al., Global
Structure-from-Motion Revisited (2024).
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nerfcore.cameras.trajectories import FACING
from nerfcore.errors import NerfcoreError, OutputError

MAX_SIDE = 1600  # pixels; larger photographs are reduced to look for features
FEATURES = 4096  # per photograph
FEWEST_INLIERS = 15  # of a pair of photographs that counts as matched, as pycolmap does
FEWEST_FEATURES = 30  # of a photograph that can be registered: so many must agree with the model
SMALLEST_MODEL = 3  # photographs
WORDS, PER_WORD = 6200, 39  # of the vocabulary: its size, and how many features pycolmap wants to see for each
LOOP_PERIOD, LOOP_CANDIDATES = 2, 20  # each so many-th photograph of a sequence is matched with so many that look alike
LOOKALIKES = 50  # matched with each photograph by vocabulary
SHARES_A_CENTRE = 20  # photographs by one camera that are enough to tell where its lens is centred
SEED = 0
QUIET = 3  # pycolmap's level of messages: what it has to say, its results say too
POLL_SECONDS = 0.5
RESERVE = 2**26  # bytes of free disk below which work is stopped: pycolmap would end this process where there are none

OnProgress = Callable[[str, int, int], None]


def require_pycolmap():
    """The module pycolmap, silenced. Raises NerfcoreError, which says how to install it."""
    try:
        import pycolmap
    except ImportError as error:
        raise NerfcoreError(
            f'cameras are found by pycolmap, which cannot be loaded ({error}); pip install "nerfcore[sfm]"'
        ) from error
    pycolmap.logging.minloglevel = QUIET
    return pycolmap


@dataclass(frozen=True)
class Project:
    """Photographs that are to be reconstructed. names: those in the folder ``images`` that take part. folder: where the
    database is. threads: at most so many at once. on_progress(stage, done, total) is told how far each stage is.
    """

    images: Path
    names: list[str]
    folder: Path
    threads: int
    on_progress: OnProgress

    @property
    def database(self) -> Path:
        """The file that holds features and matches."""
        return self.folder / "database.db"

    def open(self):
        """The database, a context manager."""
        return require_pycolmap().Database.open(self.database)

    def images_by_name(self) -> dict:
        """pycolmap's images in the database."""
        with self.open() as database:
            known = {image.name: image for image in database.read_all_images()}
        return {name: known[name] for name in self.names if name in known}


def import_cameras(project: Project, groups: list[list[str]], camera_model: str, one_each: bool) -> None:
    """Notes photographs with a camera for each group, or for each of them. A focal length in EXIF data is its first
    guess, otherwise 1.2 times the longer side."""
    pycolmap = require_pycolmap()
    known = project.images_by_name()
    mode = pycolmap.CameraMode.PER_IMAGE if one_each else pycolmap.CameraMode.SINGLE
    for names in groups:
        options = pycolmap.ImageReaderOptions()
        options.camera_model = camera_model
        added = [name for name in names if name not in known]
        if not one_each and len(added) < len(names):
            options.existing_camera_id = next(known[name].camera_id for name in names if name in known)
        if added:
            pycolmap.import_images(
                project.database, project.images, camera_mode=mode, image_names=added, options=options
            )


def find_features(project: Project) -> dict[str, int]:
    """Looks for features (SIFT) in photographs that have none yet; returns how many each has."""
    pycolmap = require_pycolmap()
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size, options.sift.max_num_features = MAX_SIDE, FEATURES
    options.num_threads = project.threads

    def counts() -> dict[str, int]:
        with project.open() as database:
            return {
                name: database.num_keypoints_for_image(image.image_id) for name, image in images.items()
                if database.exists_keypoints(image.image_id)
            }

    images = project.images_by_name()
    found = counts()
    todo = [name for name in images if name not in found]
    if todo:
        _watched(project, "features", lambda: len(counts()), len(images), lambda token: pycolmap.extract_features(
            project.database, project.images, image_names=todo, extraction_options=options,
            device=pycolmap.Device.cpu, cancellation_token=token,
        ))
    return counts()


def match(project: Project, kind: str) -> None:
    """Matches features of pairs of photographs that have not been matched yet, and keeps what a rigid scene explains.

    kind: "sequential": each with its neighbours by name, and those that look alike, so that loops close (a chain alone
    keeps every photograph and tears its scale); "vocabulary": each with those that look alike; "exhaustive": all.
    """
    pycolmap = require_pycolmap()
    options, count = pycolmap.FeatureMatchingOptions(), len(project.names)
    options.num_threads = project.threads
    if kind == "exhaustive":
        call, pairing = pycolmap.match_exhaustive, pycolmap.ExhaustivePairingOptions()
        pairing.block_size = 10  # what is matched is written block by block
        pairs = count * (count - 1) // 2
    elif kind == "sequential":
        call, pairing = pycolmap.match_sequential, pycolmap.SequentialPairingOptions()
        pairing.loop_detection, pairing.vocab_tree_path = True, _vocabulary(project)
        pairing.loop_detection_period, pairing.loop_detection_num_images = LOOP_PERIOD, LOOP_CANDIDATES
        pairing.num_threads = project.threads
        pairs = count * (pairing.overlap + LOOP_CANDIDATES // LOOP_PERIOD)
    else:
        call, pairing = pycolmap.match_vocabtree, pycolmap.VocabTreePairingOptions()
        pairing.vocab_tree_path, pairing.num_images = _vocabulary(project), LOOKALIKES
        pairing.num_threads = project.threads
        pairs = count * LOOKALIKES // 2
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = SEED
    with project.open() as database:
        _watched(project, f"{kind} matches", database.num_matched_image_pairs, pairs, lambda token: call(
            project.database, matching_options=options, pairing_options=pairing, verification_options=verification,
            device=pycolmap.Device.cpu, cancellation_token=token,
        ))


def _vocabulary(project: Project) -> Path:
    """A tree of words made of these photographs' own features, by which those that look alike are found: none needs to
    be downloaded."""
    pycolmap = require_pycolmap()
    path = project.folder / "vocabulary.bin"
    if not path.exists():
        ids = [image.image_id for image in project.images_by_name().values()]
        random, samples = np.random.default_rng(SEED), []
        with project.open() as database:
            for image_id in ids:
                features = database.read_descriptors(image_id).to_float()
                samples.append(random.permutation(features.data.reshape(-1, 128))[: 1 + WORDS * PER_WORD // len(ids)])
        features.data = np.resize(np.concatenate(samples), (WORDS * PER_WORD, 128))  # repeated where they are too few
        options = pycolmap.VisualIndex.BuildOptions()
        options.num_visual_words = WORDS
        options.num_iterations, options.num_rounds, options.num_checks = 2, 1, 32  # rough will do
        options.num_threads = project.threads
        tree = pycolmap.VisualIndex.create(128, 64)
        _watched(project, "vocabulary", lambda: 0, 1, lambda _: tree.build(options, features))
        beside = path.with_suffix(".writing")
        tree.write(beside)
        beside.replace(path)
    return path


def map_cameras(project: Project, mapping: str) -> list:
    """The models, pycolmap's reconstructions, that the matches give, the one with the most photographs first.

    mapping: "incremental" adds one photograph after another; "global" places all at once, which is faster for many and
    needs good matches.
    """
    pycolmap = require_pycolmap()
    total, registered = len(project.names), []

    def run(token) -> dict:
        with tempfile.TemporaryDirectory(dir=project.folder) as models:
            if mapping == "global":
                options = pycolmap.GlobalPipelineOptions()
                options.image_names, options.min_model_size = project.names, SMALLEST_MODEL
                options.num_threads, options.random_seed = project.threads, SEED
                pycolmap.calibrate_view_graph(project.database)
                return pycolmap.global_mapping(project.database, project.images, models, options)
            options = pycolmap.IncrementalPipelineOptions()
            options.image_names, options.min_model_size = project.names, SMALLEST_MODEL
            options.num_threads, options.random_seed = project.threads, SEED
            return pycolmap.incremental_mapping(
                project.database, project.images, models, options, cancellation_token=token,
                initial_image_pair_callback=lambda: registered.extend((1, 1)),
                next_image_callback=lambda: registered.append(1),
            )

    models = _watched(project, f"{mapping} mapping", lambda: len(registered), total, run)
    return sorted(models.values(), key=lambda model: -model.num_reg_images())


def refine_centres(project: Project, model) -> None:
    """Adjusts a model once more, with the point of the picture at which the lens is centred for cameras that took many
    photographs; the others keep what was found. Photographs that all look the same way do not tell it from a turn."""
    pycolmap = require_pycolmap()
    images = [model.image(image_id) for image_id in model.reg_image_ids()]
    taken = Counter(image.camera_id for image in images)
    same_way = np.linalg.norm(np.mean([image.viewing_direction() for image in images], axis=0)) > FACING
    if same_way or max(taken.values()) < SHARES_A_CENTRE:
        return
    options, config = pycolmap.BundleAdjustmentOptions(), pycolmap.BundleAdjustmentConfig()
    options.refine_principal_point, options.print_summary = True, False
    options.ceres.solver_options.num_threads = project.threads
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    for image in images:
        config.add_image(image.image_id)
    for camera_id, photographs in taken.items():
        if photographs < SHARES_A_CENTRE:
            config.set_constant_cam_intrinsics(camera_id)
    adjuster = pycolmap.create_default_bundle_adjuster(options, config, model)
    _watched(project, "adjustment", lambda: 0, 1, lambda _: adjuster.solve())
    model.update_point_3d_errors()


def unregistered(project: Project, models: list, features: dict[str, int]) -> dict[str, str]:
    """Why each photograph that is not in the first of the models is not, by name."""
    inside = [set(model.reg_image_ids()) for model in models]
    best: dict[int, int] = {}  # matches of each photograph's best pair
    with project.open() as database:
        for pair, count in zip(*database.read_two_view_geometry_num_inliers(), strict=True):
            for image_id in require_pycolmap().pair_id_to_image_pair(pair):
                best[image_id] = max(best.get(image_id, 0), count)
    reasons = {}
    for name, image in project.images_by_name().items():
        number, matches = features.get(name, 0), best.get(image.image_id, 0)
        sizes = [len(ids) for ids in inside if image.image_id in ids]
        if inside and image.image_id in inside[0]:
            continue
        if number < FEWEST_FEATURES:
            reasons[name] = f"too few features ({number}): it is blurred, dark or plain"
        elif matches < FEWEST_INLIERS:
            reasons[name] = "too few matches: it overlaps with no other photograph"
        elif sizes:
            reasons[name] = f"belongs to another model, of {sizes[0]} photographs, with too little overlap"
        else:
            reasons[name] = f"agrees with no model (at most {matches} matches with another photograph)"
    return reasons


def require_room(folder: Path, need: int) -> None:
    """Raises OutputError where less than so many bytes are free on a folder's disk."""
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OutputError(
            f"{folder}: {free / 2**20:.0f} MiB are free there and {need / 2**20:.0f} MiB are needed; free space and "
            "repeat this, or choose another place"
        )


def _watched(project: Project, stage: str, done: Callable[[], int], total: int, call: Callable):
    """Runs a call of pycolmap beside this thread, which reports its progress, and stops it if it is interrupted."""
    token = require_pycolmap().CancellationToken()
    require_room(project.folder, RESERVE)
    project.on_progress(stage, 0, total)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, token)
        try:
            while wait([future], POLL_SECONDS).not_done:
                require_room(project.folder, RESERVE)
                project.on_progress(stage, min(done(), total), total)
        except BaseException:
            token.cancel()
            raise
    try:
        result = future.result()
    except (RuntimeError, ValueError, OSError) as error:
        raise NerfcoreError(
            f"{project.folder}: {stage} ended in an error of pycolmap ({error}); free space there or give other "
            "photographs; what was finished is kept"
        ) from error
    project.on_progress(stage, total, total)
    return result
