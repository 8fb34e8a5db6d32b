"""`nerfcore check` on the command line, and its page."""

import json
import re

import pytest

from nerfcore.cli.main import main
from tests.checkup import room


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A capture of which a photo is absent and another has a name that is markup: its folder and the exit status."""
    base = tmp_path_factory.mktemp("check")
    folder = room.write(base / "room")
    (folder / "images/05.png").rename(folder / "images/<b>&.png")

    def change(table):
        table["frames"][5]["file_path"] = "images/<b>&.png"
        table["frames"].append({**table["frames"][0], "file_path": "images/absent.png"})

    room.edit(folder, change)
    return base, main(["check", str(folder), "--out", str(base / "out"), "--apply", "--box", *"-3 -3 -3 3 3 3".split()])


def test_a_warning_is_no_failure(checked):
    assert checked[1] == 0


def test_the_page_is_whole_and_needs_nothing_else(checked):
    page = (checked[0] / "out/check.html").read_text()
    assert "1 of 11 listed photos do not exist" in page and "images/absent.png" in page
    assert not re.search(r"https?://|<link|@import|src='(?!data:)", page)
    assert page.count("<img") == room.COUNT and "<b>&.png" not in page.replace("&lt;b&gt;&amp;.png", "")
    data = json.loads(re.search(r"id=space>(.*?)</script>", page)[1])
    assert len(data["cameras"]) == room.COUNT and len(data["points"]) > 100
    assert data["box"] == [[-3.0] * 3, [3.0] * 3]


def test_apply_writes_a_capture_that_trains(checked, capsys):
    base, _ = checked
    table = json.loads((base / "out/scene/transforms.json").read_text())
    assert len(table["frames"]) == room.COUNT and table["scale"] / table["aabb_scale"] == pytest.approx(1 / 6)
    assert main(["check", str(base / "room"), "--out", str(base / "out"), "--apply"]) == 1
    assert "is not empty; choose another folder" in capsys.readouterr().err


def test_something_severe_is_a_failure(tmp_path, capsys):
    folder = room.write(tmp_path / "room")
    (folder / "images/03.png").write_bytes(b"no picture")
    assert main(["check", str(folder), "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr().out
    assert "severe" in shown and "unreadable" in shown and "images/03.png" in "".join(shown.split())
    assert (tmp_path / "out/check.html").is_file()


def test_no_capture_is_one_sentence(tmp_path, capsys):
    assert main(["check", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
    assert "no such folder" in capsys.readouterr().err and not (tmp_path / "out").exists()
