"""`report.html`: what a run reached, on one page that needs no other file, no script and no network."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nerfcore.colours import ERROR_FULL_SCALE, RAMP, error_colours
from nerfcore.files import write_file

MAX_PICTURES = 8
MAX_SIDE = 480  # pixels

FLOATER_COLOUR = (255, 84, 28)
FEW_FLOATERS = 0.005  # share of the light of a view that is not worth a picture

CAMERA_COLUMNS = {
    "turn": ("turned, degrees", ".3f"),
    "shift": ("moved, world units", ".4g"),
    "focal": ("focal length, times", ".4f"),
    "exposure": ("exposure, times", ".3f"),
}

Picture = tuple[str, Tensor, Tensor]  # name, truth [H, W, 3], prediction [H, W, 3]
Point = tuple[float, float]


def write_report(
    path: str | Path, config: dict, metrics: dict, history: list[dict], pictures: Sequence[Picture],
    floaters: Sequence[Tensor] = (), *, curves: Sequence[str] = (), samples: Tensor | None = None,
) -> Path:
    """Writes the page and returns its path.

    config and metrics are shown as they are; the headline takes ``psnr``, ``ssim``, ``floaters``, ``train_seconds``,
    ``steps`` and ``rays_per_second`` of metrics where present. history: dicts with ``seconds`` and any of
    ``train_psnr`` (dB, on training rays), ``loss``, ``rays_per_second``, ``checkpoint`` (true where one was saved).
    ``metrics["timeline"]``: seconds of each stage, in their order. pictures: the held-out views, values in [0, 1];
    ``metrics["per_image"]`` holds name, psnr, ssim and floaters of each, in the same order. All get a line in the
    table, and up to eight, evenly ranked from the best PSNR to the worst, are shown. floaters: of each of them [h, w],
    the share of light from these; the worst view is shown. ``metrics["camera_changes"]``, where there is one, says how
    far training moved each camera: name, turn (degrees), shift (world units), focal and exposure (factors). curves:
    other keys of history that are drawn; samples [H, W, 3] in [0, 1]: a picture of what the run's prior draws. Raises
    OutputError.
    """
    metrics = dict(metrics)
    scores = metrics.pop("per_image", [])
    changes, timeline = metrics.pop("camera_changes", []), metrics.pop("timeline", {})
    ranked = sorted(range(len(scores)), key=lambda i: -scores[i]["psnr"])
    shown = [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, min(MAX_PICTURES, len(ranked)))]
    title = str(config.get("scene") or metrics.get("scene") or config.get("prior") or "run")
    body = [
        f"<header><p class=brand>nerfcore</p><h1>{escape(Path(title).name)}</h1>{_subtitle(metrics)}</header>",
        _headline(metrics),
        _section("Time line", _timeline(timeline, history) + _curves(history, metrics, curves)),
        _section("Samples", "" if samples is None else f"<img alt=samples src='{_data_uri(samples)}'>"),
        _section("Held-out views", _gallery([(pictures[i], scores[i]) for i in shown], len(scores))),
        _section("Floaters", _floaters(pictures, scores, floaters)),
        _section("Every held-out view", _score_table(scores)),
        _section("Corrected cameras", _camera_table(changes)),
        _section("Configuration", _facts(config)),
        _section("Result and environment", _facts(metrics)),
    ]
    write_file(Path(path), PAGE.format(title=escape(title), style=STYLE, body="".join(body)))
    return Path(path)


def compact(value: float) -> str:
    """Four significant digits at most, with k, M or G for thousands and up: 1234567 is "1.235M"."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{unit}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """"45.2 s", "3 min 20 s" or "1 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>" if content else ""


def _subtitle(metrics: dict) -> str:
    parts = [f"{what} {metrics[what]}" for what in ("device", "backend", "background", "split") if what in metrics]
    return f"<p class=note>{escape(' · '.join(parts))}</p>" if parts else ""


def _headline(metrics: dict) -> str:
    shows = (
        ("psnr", "PSNR, held out", lambda v: f"{v:.2f} <small>dB</small>"),
        ("ssim", "SSIM, held out", lambda v: f"{v:.4f}"),
        ("floaters", "light from floaters", lambda v: f"{100 * v:.1f} <small>%</small>"),
        ("train_seconds", "training time", duration),
        ("steps", "steps", lambda v: f"{v:,}"),
        ("rays_per_second", "rays a second", compact),
    )
    shows = [(show(metrics[key]), label) for key, label, show in shows if _is_number(metrics.get(key))]
    cards = "".join(f"<div><b>{value}</b><span>{label}</span></div>" for value, label in shows)
    return f"<div class=cards>{cards}</div>" if cards else ""


def _timeline(timeline: dict[str, float], history: list[dict]) -> str:
    """A bar from the beginning of the run to its end, each stage as long as it took, with marks for checkpoints."""
    total = sum(timeline.values())
    if not total:
        return ""
    saved = [row["seconds"] for row in history if row.get("checkpoint")]
    bar = [f"<i class={stage} style='flex-grow: {seconds / total:.4f}'></i>" for stage, seconds in timeline.items()]
    bar += [f"<b style='left: {100 * at / total:.2f}%' title='{duration(at)}'></b>" for at in saved]
    legend = [f"<span><i class={stage}></i>{stage} {duration(seconds)}</span>" for stage, seconds in timeline.items()]
    if saved:
        legend.append(f"<span><b></b>{len(saved)} checkpoint{'s' * (len(saved) > 1)}</span>")
    return f"<div class=timeline><div class=bar>{''.join(bar)}</div><p>{''.join(legend)}</p></div>"


def _curves(history: list[dict], metrics: dict, others: Sequence[str]) -> str:
    held_out = metrics["psnr"] if _is_number(metrics.get("psnr")) else None
    drawn = [
        _chart("PSNR of training rays, dB", _series(history, "train_psnr"), level=held_out),
        _chart("Loss", [(x, y) for x, y in _series(history, "loss") if y > 0], log=True),
        _chart("Rays a second", _series(history, "rays_per_second"), from_zero=True),
        *(_chart(escape(key.replace("_", " ").capitalize()), _series(history, key)) for key in others),
    ]
    return f"<div class=charts>{''.join(drawn)}</div>" if any(drawn) else ""


def _series(history: list[dict], key: str) -> list[Point]:
    pairs = [(row.get("seconds"), row.get(key)) for row in history]
    return [(x, y) for x, y in pairs if _is_number(x) and _is_number(y)]


def _chart(
    title: str, points: list[Point], log: bool = False, from_zero: bool = False, level: float | None = None
) -> str:
    """One curve against seconds as inline SVG; ``level`` is drawn as a dashed line, the held-out value."""
    if len(points) < 2:
        return ""
    width, height, left, right, top, bottom = 420, 250, 46, 14, 12, 34
    transform = math.log10 if log else float
    values = [transform(y) for _, y in points] + [level] * (level is not None) + [0.0] * from_zero
    x_ticks, y_ticks = _ticks(0, points[-1][0]), (_log_ticks if log else _ticks)(min(values), max(values))
    x_end, low, high = x_ticks[-1], y_ticks[0], y_ticks[-1]

    def x_of(x: float) -> float:
        return left + (width - left - right) * x / x_end

    def y_of(y: float) -> float:
        return height - bottom - (height - top - bottom) * (y - low) / (high - low)

    marks = []
    for tick in y_ticks:
        marks.append(f"<path class=grid d='M{left} {y_of(tick):.1f}H{width - right}'/>")
        label = compact(10**tick if log else tick)
        marks.append(f"<text x={left - 6} y={y_of(tick) + 4:.1f} text-anchor=end>{label}</text>")
    for tick in x_ticks:
        marks.append(f"<text x={x_of(tick):.1f} y={height - bottom + 18} text-anchor=middle>{compact(tick)}</text>")
    marks.append(f"<text x={width - right} y={height - 2} text-anchor=end>seconds</text>")
    line = " ".join(f"{x_of(x):.1f},{y_of(transform(y)):.1f}" for x, y in points)
    marks.append(f"<polyline class=curve points='{line}'/>")
    if level is not None:
        y = y_of(level)
        marks.append(f"<path class=level d='M{left} {y:.1f}H{width - right}'/>")
        above = y - 6 if y > top + 20 else y + 15
        marks.append(f"<text class=level x={left + 6} y={above:.1f}>held out {level:.2f}</text>")
    svg = f"<svg viewBox='0 0 {width} {height}' role=img aria-label='{escape(title)}'>{''.join(marks)}</svg>"
    return f"<figure><figcaption>{title}{' (logarithmic)' if log else ''}</figcaption>{svg}</figure>"


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from just below ``low`` to just above ``high``."""
    span = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-12)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= 5)
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of powers of ten, or of 1, 2 and 5 times these where the range is short, around the range."""
    digits = (1, 2, 5) if high - low < 1.5 else (1,)
    every = [n + math.log10(d) for n in range(math.floor(low) - 1, math.ceil(high) + 2) for d in digits]
    first = max(i for i, tick in enumerate(every) if tick <= low)
    last = min(i for i, tick in enumerate(every) if tick >= high and i > first)
    return every[first : last + 1]


def _gallery(shown: list[tuple[Picture, dict]], total: int) -> str:
    if not shown:
        return ""
    note = (
        f"<p class=note>{len(shown)} of {total} views, from the best PSNR to the worst. "
        f"Error: mean absolute error of a pixel, 0 <i class=ramp></i> {ERROR_FULL_SCALE:g} and more.</p>"
    )
    return f"{note}<div class=gallery>{''.join(_picture(*pair) for pair in shown)}</div>"


def _picture(picture: Picture, score: dict) -> str:
    name, truth, prediction = picture
    prediction = prediction.clamp(0, 1)
    images = {"photograph": truth, "rendered": prediction, "error": _error_image(truth, prediction)}
    return _row(name, f"{score['psnr']:.2f} dB · SSIM {score['ssim']:.4f}", images)


def _row(name: str, caption: str, images: dict[str, Tensor]) -> str:
    """Pictures of one view side by side, by what they show."""
    cells = "".join(
        f"<div><img alt='{kind}' src='{_data_uri(image)}'><span>{kind}</span></div>" for kind, image in images.items()
    )
    height, width = next(iter(images.values())).shape[:2]
    caption = f"<figcaption><b>{escape(name)}</b> {caption}</figcaption>"
    return f"<figure class=views style='--aspect: {width / height:.3f}'>{caption}{cells}</figure>"


def _floaters(pictures: Sequence[Picture], scores: list[dict], floaters: Sequence[Tensor]) -> str:
    if not floaters:
        return ""
    note = (
        "<p class=note>Light from where fewer than two training cameras see a surface: what hangs in the air before "
        "one camera, fog, and what a single photograph shows. "
    )
    worst = max(range(len(floaters)), key=lambda i: scores[i]["floaters"])
    name, truth, prediction = pictures[worst]
    share = scores[worst]["floaters"]
    if share < FEW_FLOATERS:
        return f"{note}There is hardly any in the held-out views: {100 * share:.2g} % at most.</p>"
    advice = "More photographs of what is marked, from other places, would settle it.</p>"
    images = {"photograph": truth, "rendered": prediction, "floaters": _marked(prediction, floaters[worst])}
    return f"{note}{advice}<div class=gallery>{_row(name, f'{100 * share:.1f} % of the light', images)}</div>"


def _marked(image: Tensor, share: Tensor) -> Tensor:
    """A picture [H, W, 3] without its colours, and in FLOATER_COLOUR by the shares [h, w]."""
    share = interpolate(share[None, None], size=image.shape[:2], mode="bilinear")[0, 0, :, :, None].clamp(0, 1).cpu()
    grey = 0.75 * image.clamp(0, 1).mean(-1, keepdim=True).expand_as(image).cpu()
    return torch.lerp(grey, torch.tensor(FLOATER_COLOUR) / 255, share)


def _error_image(truth: Tensor, prediction: Tensor) -> Tensor:
    """Mean absolute error over the channels, [H, W, 3], as colours."""
    return error_colours((truth - prediction).abs().mean(-1).cpu())


def _data_uri(image: Tensor) -> str:
    """A PNG of [H, W, 3] in [0, 1], made smaller by area where it is larger than the page shows."""
    image = image.detach().float().cpu()
    scale = MAX_SIDE / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[:2]]
        image = interpolate(image.movedim(-1, 0)[None], size=size, mode="area")[0].movedim(0, -1)
    buffer = io.BytesIO()
    iio.imwrite(buffer, (image * 255).round().byte().numpy(), extension=".png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _score_table(scores: list[dict]) -> str:
    if not scores:
        return ""
    cells = "<td class=number>{psnr:.3f}<td class=number>{ssim:.4f}<td class=number>{floaters:.2%}"
    rows = "".join(f"<tr><td>{escape(score['name'])}{cells.format(**score)}" for score in scores)
    mean = {key: sum(score[key] for score in scores) / len(scores) for key in ("psnr", "ssim", "floaters")}
    head = "<tr><th>view<th class=number>PSNR, dB<th class=number>SSIM<th class=number>floaters"
    foot = f"<tr><th>mean{cells.replace('td', 'th').format(**mean)}"
    return f"<div class=scroll><table><thead>{head}<tbody>{rows}<tfoot>{foot}</table></div>"


def _camera_table(changes: list[dict]) -> str:
    """From the camera that turned most to the one that did least, and their means."""
    if not changes:
        return ""

    def row(tag: str, name: str, change: dict) -> str:
        cells = (f"<{tag} class=number>{change[key]:{digits}}" for key, (_, digits) in CAMERA_COLUMNS.items())
        return f"<tr><{tag}>{escape(name)}{''.join(cells)}"

    ranked = sorted(changes, key=lambda change: -change["turn"])
    mean = {key: sum(change[key] for change in changes) / len(changes) for key in CAMERA_COLUMNS}
    head = "<tr><th>view" + "".join(f"<th class=number>{title}" for title, _ in CAMERA_COLUMNS.values())
    rows = "".join(row("td", change["name"], change) for change in ranked)
    table = f"<div class=scroll><table><thead>{head}<tbody>{rows}<tfoot>{row('th', 'mean', mean)}</table></div>"
    return _what_refinement_changed(mean) + table


def _what_refinement_changed(mean: dict) -> str:
    """In words, where cameras moved at all: also why held-out views may not show it."""
    if not mean["turn"] and not mean["shift"]:
        return ""
    return (
        f"<p class=note>Training turned cameras by {mean['turn']:.3f}° and moved them by {mean['shift']:.4g} world "
        "units on average; errors too small to stand out of the noise of its steps stay, so that cameras which were "
        "nearly right hardly move. Held-out cameras follow what these corrections have in common, and keep errors of "
        "their own, since no photograph of theirs took part: if they are as wrong as the others were, the score above "
        "is that of a sharper field looked at from slightly wrong places, and says little of what was gained. "
        "<code>nerfcore eval --settle</code> scores it without these errors.</p>"
    )


def _facts(values: dict) -> str:
    """A table of names and values; a dict within becomes dotted names."""
    rows = "".join(f"<tr><td>{escape(key)}<td class=value>{escape(_text(value))}" for key, value in _flat(values))
    return f"<div class=scroll><table>{rows}</table></div>" if rows else ""


def _flat(values: dict, prefix: str = "") -> list[tuple[str, object]]:
    rows = []
    for key, value in values.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return rows


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


PAGE = """<!doctype html>
<html lang=en>
<head><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1"><title>{title}</title>
<style>{style}</style></head>
<body><main>{body}</main></body>
</html>
"""

STYLE = """
:root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --line: #e3e3de;
  --ink: #1d1d1b; --soft: #6b6b66; --accent: #2563c9; --level: #c2571a; --last: #2c8a63 }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --card: #20201f; --line: #363633;
  --ink: #ececea; --soft: #9b9b95; --accent: #7aaaf7; --level: #f0955a; --last: #57c495 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px }
h1 { font-size: 34px; line-height: 1.15; margin: 0; letter-spacing: -.02em; overflow-wrap: anywhere }
h2 { font-size: 19px; margin: 44px 0 12px }
.brand { margin: 0 0 4px; color: var(--accent); font-weight: 600 }
.note { margin: 4px 0 12px; color: var(--soft) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin-top: 24px }
.cards div, .charts figure, .views, .scroll, .timeline {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px }
.cards div { padding: 14px 16px }
.cards b { display: block; font-size: 25px; font-weight: 600; letter-spacing: -.01em; white-space: nowrap }
.cards small { font-size: 15px; font-weight: 400; color: var(--soft) }
.cards span, .views span { color: var(--soft); font-size: 13px }
figure { margin: 0 }
.timeline { padding: 16px 14px 10px; margin-bottom: 12px }
.timeline .bar { position: relative; display: flex; gap: 2px; height: 14px }
.timeline i { min-width: 3px; border-radius: 3px; background: var(--soft) }
.timeline .training { background: var(--accent) }
.timeline .saving { background: var(--level) }
.timeline .evaluating { background: var(--last) }
.timeline b { width: 2px; height: 14px; background: var(--ink) }
.bar b { position: absolute; top: 0 }
.timeline p { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 10px 0 0; font-size: 13px; color: var(--soft) }
.timeline span { display: flex; align-items: center; gap: 7px }
.timeline span i { width: 11px; height: 11px }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 12px }
.charts figure { padding: 14px 14px 10px }
.charts figcaption { font-weight: 600; margin-bottom: 6px }
svg { display: block; width: 100%; height: auto }
svg text { font-size: 11.5px; fill: var(--soft); font-variant-numeric: tabular-nums }
svg text.level { fill: var(--level); font-weight: 600 }
.grid { stroke: var(--line); fill: none }
.curve { stroke: var(--accent); stroke-width: 2; fill: none; stroke-linejoin: round }
path.level { stroke: var(--level); stroke-width: 1.5; stroke-dasharray: 5 4; fill: none }
.gallery { display: flex; flex-wrap: wrap; gap: 12px }
.views { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px 10px; padding: 14px;
  width: calc(900px * var(--aspect) + 50px); min-width: min(100%, 500px); max-width: 100% }
.views figcaption { grid-column: 1 / -1 }
.views img { display: block; width: 100%; border-radius: 4px; margin-bottom: 2px }
.ramp { display: inline-block; width: 90px; height: 10px; border-radius: 3px; margin: 0 2px;
  background: linear-gradient(90deg, RAMP) }
.scroll { overflow-x: auto; max-height: 480px; overflow-y: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
td, th { padding: 6px 16px; text-align: left; border-bottom: 1px solid var(--line) }
thead th, tfoot th { position: sticky; background: var(--card) }
thead th { top: 0; color: var(--soft); font-weight: 500 }
tfoot th { bottom: 0; border-top: 1px solid var(--line); border-bottom: 0 }
.number { text-align: right }
.value { overflow-wrap: anywhere; color: var(--soft) }
@media print { .scroll { max-height: none } .views { break-inside: avoid } }
""".replace("RAMP", ", ".join(f"rgb{colour}" for colour in RAMP))
