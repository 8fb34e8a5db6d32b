"""The report is one well-formed page that holds the figures it was given and needs nothing else."""

import base64
import io
import re
from html.parser import HTMLParser

import imageio.v3 as iio
import pytest
import torch

from nerfcore.errors import OutputError
from nerfcore.training.report import compact, duration, write_report

METRICS = {
    "psnr": 29.1234,
    "ssim": 0.88127,
    "steps": 12345,
    "floaters": 0.0271,
    "train_seconds": 200.4,
    "rays_per_second": 71234.5,
    "samples_per_second": 1312345.6,
    "device": "cpu",
    "num_eval_images": 12,
    "background": "white",
}
CONFIG = {"scene": "a <b> & c", "field": "ngp", "optimizer": {"rate": 0.01}}
HISTORY = [
    {"seconds": 0.5 * i, "train_psnr": 20 + 0.1 * i, "loss": 0.1 / i, "rays_per_second": 7e4} for i in range(1, 40)
]
VOID = {"meta", "img", "br", "path", "polyline"}
OPTIONAL_END = {"tr", "td", "th", "thead", "tbody", "tfoot"}


class Page(HTMLParser):
    """Collects texts and attributes, and checks that elements nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.attributes, self.tags = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID | OPTIONAL_END:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def report(folder, count=12, height=30, width=20, history=HISTORY, floaters=(), timeline=None):
    views = [
        (f"view {i}", torch.full((height, width, 3), 0.5), torch.full((height, width, 3), 0.5 + 0.01 * i))
        for i in range(count)
    ]
    scores = [
        {"name": name, "psnr": 40.0 - i, "ssim": 0.9, "floaters": 0.01 * i} for i, (name, _, _) in enumerate(views)
    ]
    metrics = METRICS | {"per_image": scores, "timeline": timeline or {}}
    path = write_report(folder / "report.html", CONFIG, metrics, history, views, floaters)
    return Page(path.read_text(encoding="utf-8"))


def images(page):
    sources = [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
    return [iio.imread(io.BytesIO(base64.b64decode(s.removeprefix("data:image/png;base64,")))) for s in sources]


def test_page_holds_the_figures(tmp_path):
    page = report(tmp_path)
    for text in ("29.12", "0.8813", "12,345", "3 min 20 s", "71.23k", "2.7", "a <b> & c", "optimizer.rate", "0.01"):
        assert text in page.texts, text
    assert "held out 29.12" in page.texts
    assert page.tags.count("polyline") == 3
    assert [text for text in page.texts if re.fullmatch(r"view \d+", text)][8:] == [f"view {i}" for i in range(12)]
    assert "34.500" in page.texts  # the mean of the table


def test_page_needs_nothing_else(tmp_path):
    page = report(tmp_path)
    assert not {"script", "link", "iframe"} & set(page.tags)
    links = [value for _, name, value in page.attributes if name in ("src", "href")]
    assert len(links) == 24 and all(link.startswith("data:image/png;base64,") for link in links)


def test_pictures_run_from_best_to_worst_and_show_the_error(tmp_path):
    shown = images(report(tmp_path))
    assert [rendered[0, 0, 0] for rendered in shown[1::3]] == sorted(rendered[0, 0, 0] for rendered in shown[1::3])
    assert all((truth == 128).all() for truth in shown[0::3])
    brightness = [int(error.sum()) for error in shown[2::3]]
    assert brightness == sorted(brightness) and shown[2][0, 0].tolist() == [0, 0, 4]


def test_large_pictures_are_made_smaller(tmp_path):
    assert images(report(tmp_path, count=1, height=300, width=960))[0].shape == (150, 480, 3)


def test_report_of_a_run_without_history_or_views(tmp_path):
    path = write_report(tmp_path / "report.html", CONFIG, METRICS, [], [])
    page = Page(path.read_text(encoding="utf-8"))
    assert "29.12" in page.texts and not {"svg", "img"} & set(page.tags)


@pytest.mark.parametrize("value", [0.0, float("nan"), 1e-30, 1e30])
def test_curves_survive_odd_values(tmp_path, value):
    report(tmp_path, count=1, history=[{"seconds": s, "loss": value, "train_psnr": value} for s in (1.0, 2.0)])


def test_corrected_cameras_are_listed(tmp_path):
    changes = [dict(name=f"<{i}>", turn=0.25 * i, shift=0.001 * i, focal=1 + 0.01 * i, exposure=1.0) for i in range(3)]
    path = write_report(tmp_path / "report.html", CONFIG, METRICS | {"camera_changes": changes}, [], [])
    texts = Page(path.read_text(encoding="utf-8")).texts
    assert [text for text in texts if re.fullmatch(r"<\d>", text)] == ["<2>", "<1>", "<0>"]
    assert "Corrected cameras" in texts
    at = texts.index("mean")
    assert [text for text in texts[at:] if text][1:5] == ["0.250", "0.001", "1.0100", "1.000"]
    assert any("turned cameras by 0.250° and moved them by 0.001 world units" in text for text in texts)
    still = [change | dict(turn=0.0, shift=0.0) for change in changes]  # appearances alone
    path = write_report(tmp_path / "still.html", CONFIG, METRICS | {"camera_changes": still}, [], [])
    assert "turned cameras" not in path.read_text(encoding="utf-8")


def test_the_view_with_most_floaters_is_shown(tmp_path):
    """What floats is marked in its place: the right half, of the last of three views."""
    share = torch.zeros(6, 4)
    share[:, 2:] = 1.0
    page = report(tmp_path, count=3, floaters=[torch.zeros(6, 4), torch.zeros(6, 4), share])
    marked = images(page)[-1]
    assert len(images(page)) == 12 and "Floaters" in page.texts and "2.0 % of the light" in page.texts
    assert marked[:, :5].std(-1).max() == 0 and (marked[:, -5:] == [255, 84, 28]).all()
    assert "2.00%" in page.texts and "1.00%" in page.texts  # the last view, and the mean
    clean = report(tmp_path, count=1, floaters=[torch.zeros(6, 4)])
    assert len(images(clean)) == 3 and any("hardly any" in text for text in clean.texts)


def test_the_time_line_adds_up(tmp_path):
    stages = {"loading": 2.0, "training": 90.0, "saving": 0.5, "evaluating": 7.5}
    history = [*HISTORY, {"seconds": 60.0, "step": 9, "checkpoint": True}]
    page = report(tmp_path, count=1, timeline=stages, history=history)
    for text in ("loading 2 s", "training 1 min 30 s", "saving 0.5 s", "evaluating 7.5 s", "1 checkpoint"):
        assert text in page.texts, text
    styles = [value for tag, name, value in page.attributes if name == "style" and tag in ("i", "b")]
    assert styles == [f"flex-grow: {seconds / 100:.4f}" for seconds in stages.values()] + ["left: 60.00%"]
    assert page.tags.count("polyline") == 3


def test_unwritable_report(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        report(tmp_path, count=1)


def test_numbers_for_people():
    assert [compact(x) for x in (0, 12.345, 12345, 1234567, 2e9)] == ["0", "12.35", "12.35k", "1.235M", "2G"]
    assert [duration(x) for x in (4.56, 59.99, 200, 3900)] == ["4.56 s", "60 s", "3 min 20 s", "1 h 5 min"]
