"""Files whole or not at all: round trip · kill in mid-write · full disk · what cannot be read."""

import builtins
import errno
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

import nerfcore
from nerfcore import files
from nerfcore.errors import ModelError, OutputError
from nerfcore.files import write_file
from nerfcore.training.checkpoint import read_tensors, write_tensors

SMALL = dict(preset="fast", downscale=8, samples_per_step=2048, min_rays=64, occupancy_resolution=32, device="cpu")
STEPS = 10

KILLED_RUN = """
import os, signal, sys
import nerfcore
from nerfcore.training import checkpoint, loop

loop.CHECKPOINT_SECONDS = 0.0  # after every step
moment, writes = sys.argv[1], 0
call = getattr(os, moment)

def kill_at_the_fifth(*arguments):
    global writes
    target = os.readlink(f"/proc/self/fd/{arguments[0]}") if moment == "fsync" else os.fspath(arguments[0])
    writes += "state.nerf" in target
    if writes == 5 and "state.nerf" in target:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*arguments)

setattr(os, moment, kill_at_the_fifth)
nerfcore.train(out=sys.argv[2], steps=int(sys.argv[3]), **eval(sys.argv[4]))
"""


def test_tensors_and_description_come_back(tmp_path):
    tensors = {
        "a": torch.randn(3, 4).T,
        "b": torch.arange(5),
        "empty": torch.zeros(0, 3),
        "bytes": torch.tensor([7], dtype=torch.uint8),
    }
    description = dict(text="näme", number=0.1, nested=dict(values=[1, None, True]))
    write_tensors(tmp_path / "deep" / "er" / "x.nerf", tensors, description)
    again, told = read_tensors(tmp_path / "deep" / "er" / "x.nerf")
    assert again.keys() == tensors.keys() and all(torch.equal(again[k], tensors[k]) for k in tensors)
    assert {k: told[k] for k in description} == description
    assert [f.name for f in (tmp_path / "deep" / "er").iterdir()] == ["x.nerf"]


@pytest.mark.skipif(
    not hasattr(signal, "SIGKILL") or not os.path.isdir("/proc/self/fd"), reason="needs SIGKILL and /proc"
)
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_run_killed_in_mid_checkpoint_goes_on_from_the_previous_one(tmp_path, moment):
    """Killed in the fifth write of the checkpoint, the run resumes at step 4 and ends where an unbroken run ends."""
    command = [sys.executable, "-c", KILLED_RUN, moment, str(tmp_path), str(STEPS), repr(SMALL)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_tensors(tmp_path / "checkpoint" / "state.nerf")[1]["steps"] == 4
    nerfcore.load(tmp_path)
    resumed = nerfcore.train(out=tmp_path, steps=STEPS, resume=True, **SMALL)
    straight = nerfcore.train(steps=STEPS, **SMALL)
    assert resumed.metrics["steps"] == STEPS == json.loads((tmp_path / "metrics.json").read_text())["steps"]
    for (name, ours), theirs in zip(
        resumed.model.field.named_parameters(), straight.model.field.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert not [f for f in tmp_path.rglob("*") if f.name.endswith(".writing")]


class FullDisk:
    """A file that takes half of what it is given and then has no space left."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_output_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.nerf"
    write_tensors(path, {"a": torch.ones(3)}, {})
    monkeypatch.setattr(files, "open", lambda *a, **k: FullDisk(builtins.open(*a, **k)), raising=False)
    with pytest.raises(OutputError, match=r"x\.nerf cannot be written \(No space left on device\)"):
        write_tensors(path, {"a": torch.zeros(3)}, {})
    monkeypatch.undo()
    assert torch.equal(read_tensors(path)[0]["a"], torch.ones(3))
    assert [f.name for f in tmp_path.iterdir()] == ["x.nerf"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_late_in_the_write_leaves_the_old_file(tmp_path, monkeypatch, call):
    write_file(tmp_path / "x", "old")

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OutputError, match="Input/output error"):
        write_file(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_output_that_cannot_be_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file" / "x", tmp_path / "file" / "deep" / "x", tmp_path):
        with pytest.raises(OutputError, match="cannot be written") as error:
            write_file(place, b"")
        assert str(place) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(OutputError):
        nerfcore.train(out=tmp_path / "file", steps=1, **SMALL)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_header_that_is_no_object_is_a_model_error(tmp_path):
    write_tensors(tmp_path / "x", {"a": torch.zeros(1)}, {})
    content = (tmp_path / "x").read_bytes()
    assert content.count(rb"{\"schema\": 1}") == 1
    (tmp_path / "x").write_bytes(content.replace(rb"{\"schema\": 1}", rb"[\"schema\", 1]"))
    with pytest.raises(ModelError):
        read_tensors(tmp_path / "x")
