"""Pictures to learn from: idx files that the test writes itself, photographs, Fashion-MNIST, and how they are split."""

import gzip
import struct

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from nerfcore.data.examples import FASHION, Examples, load_examples, read_idx
from nerfcore.errors import SceneError


def write_idx(path, values, packed=False):
    content = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def idx_folder(tmp_path):
    """50 pictures, each of which tells its number in its first pixel, of classes 0 to 4."""
    pictures = np.random.default_rng(0).integers(0, 256, (50, 28, 28), np.uint8)
    pictures[:, 0, 0] = np.arange(50)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", pictures, packed=True)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(50, dtype=np.uint8) % 5)
    return tmp_path, pictures


@pytest.fixture
def photographs(tmp_path):
    """Ten pictures of one colour each, 40 x 60, with a white margin left and right of the middle square."""
    for i in range(10):
        image = np.full((40, 60, 3), 255, np.uint8)
        image[:, 10:50] = (10 * i, 100, 200)
        iio.imwrite(tmp_path / f"{i}.png", image)
    return tmp_path


def test_take_and_subset_keep_what_belongs_together():
    pictures = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1) * 51
    examples = Examples(pictures, torch.arange(6), tuple("abcdef"), tuple("uvwxyz"), attributes={"kind": torch.arange(6)})
    taken, labels, captions = examples.take(torch.tensor([5, 0]))
    assert taken.flatten().tolist() == [1.0, -1.0] and labels.tolist() == [5, 0] and captions == ["z", "u"]
    part = examples.subset(torch.tensor([2, 4]))
    assert len(part) == 2 and part.captions == ("w", "y") and part.attributes["kind"].tolist() == [2, 4]
    assert part.take(torch.tensor([1]))[1].tolist() == [4] and part.shape == (1, 1, 1)


def test_floats_are_taken_as_they_are():
    examples = Examples(torch.tensor([[0.25, -0.5]]))
    pictures, labels, captions = examples.take(torch.tensor([0]))
    assert pictures.tolist() == [[0.25, -0.5]] and labels is None and captions is None


def test_what_accompanies_pictures_is_as_many():
    with pytest.raises(ValueError, match="captions must be as many as the 2"):
        Examples(torch.zeros(2, 1, 4), captions=("a",))


def test_splits_of_idx_files_are_disjoint_and_complete(idx_folder):
    folder, pictures = idx_folder
    train, test = (load_examples(folder, split) for split in ("train", "test"))
    numbers = [examples.pictures[:, 0, 0, 0].tolist() for examples in (train, test)]
    assert len(train) == 40 and len(test) == 10 and sorted(numbers[0] + numbers[1]) == list(range(50))
    for examples, which in zip((train, test), numbers, strict=True):
        assert torch.equal(examples.pictures[:, 0], torch.from_numpy(pictures[which]))
        assert examples.labels.tolist() == [i % 5 for i in which] and examples.label_names == tuple("01234")
    assert numbers[0] != sorted(numbers[0])  # or the last classes of files in order would be the test
    assert torch.equal(load_examples(folder, count=7).pictures, train.pictures[:7])


def test_sizes_of_idx_files(idx_folder):
    folder, _ = idx_folder
    plain, wide, small = (load_examples(folder, size=size).pictures for size in (28, 32, 16))
    assert torch.equal(wide[..., 2:30, 2:30], plain) and wide.sum() == plain.sum()
    means = wide.double().view(40, 16, 2, 16, 2).mean((2, 4))
    assert (small[:, 0] - means).abs().max() <= 0.5


def test_damaged_idx_files_are_named(idx_folder):
    folder, _ = idx_folder
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SceneError, match="t10k-labels-idx1-ubyte: is not a whole idx file"):
        load_examples(folder)
    for content in (b"", b"\0\0\x08\x02\0", b"\0\0\x0d\1\0\0\0\1\0\0\0\0"):
        path.write_bytes(content)
        with pytest.raises(SceneError, match="not a whole idx file"):
            read_idx(path)
    packed = folder / "t10k-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(SceneError, match="cannot be read"):
        read_idx(packed)


def test_every_eighth_photograph_is_for_testing(photographs):
    train, test = (load_examples(photographs, split, 16) for split in ("train", "test"))
    assert train.shape == (3, 16, 16) and train.captions is None
    reds = [examples.pictures[:, 0].flatten(1) for examples in (train, test)]
    assert all((values == values[:, :1]).all() for values in reds)  # the middle square alone
    assert reds[1][:, 0].tolist() == [0, 80] and reds[0][:, 0].tolist() == [10 * i for i in range(10) if i not in (0, 8)]


def test_crops_go_on_for_ever_and_are_the_same_each_time(photographs):
    few, many = (load_examples(photographs, "test", 8, count) for count in (2, 40))
    assert torch.equal(few.pictures, many.pictures[:2]) and len(many) == 40
    assert torch.equal(many.pictures, load_examples(photographs, "test", 8, 40).pictures)
    assert (many.pictures[:, 0] > 200).any(-1).any(-1).float().mean() > 0.3  # some reach into the margin


def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path, idx_folder):
    folder, _ = idx_folder
    for call, said in (
        (lambda: load_examples(tmp_path / "none"), "is not a folder"),
        (lambda: load_examples(folder, size=20), "choose 28, 32 or 16"),
        (lambda: load_examples(folder, count=41), "its train split has 40 pictures, 41 are asked for"),
        (lambda: load_examples("shapes", size=20), "choose 16, 32, 64"),
    ):
        with pytest.raises(SceneError, match=said):
            call()
    with pytest.raises(ValueError, match="split must be"):
        load_examples(folder, "validation")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SceneError, match="holds 0 photographs"):
        load_examples(empty)


def test_fashion(shared_data):
    train, test = (load_examples(shared_data / "fashion_mnist", split) for split in ("train", "test"))
    assert len(train) == 8000 and len(test) == 2000 and train.shape == (1, 28, 28) and train.label_names == FASHION
    assert (train.labels.bincount() + test.labels.bincount()).tolist() == [1000] * 10
    # trousers are taller than they are wide, sneakers the other way round
    def extent(name, axis):
        shown = train.pictures[train.labels == FASHION.index(name)][:, 0] > 30
        return shown.any(axis).float().sum(1).mean()
    assert extent("trouser", 2) > 1.5 * extent("trouser", 1) and extent("sneaker", 1) > 1.3 * extent("sneaker", 2)
