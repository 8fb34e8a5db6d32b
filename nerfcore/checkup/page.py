"""`check.html`: a checkup on one page, with cameras, box and points to turn by the mouse; no other file, no network."""

from __future__ import annotations

import base64
import io
import json
import math
from html import escape
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from nerfcore.checkup.checkup import Checkup
from nerfcore.checkup.finding import SEVERITIES, count
from nerfcore.checkup.geometry import GAP, directions, gaps
from nerfcore.data.bounds import focus_of
from nerfcore.files import write_file
from nerfcore.training.report import PAGE, STYLE

MAX_POINTS = 4000
MAX_THUMBNAILS = 400  # beyond, photos that nothing is wrong with have none
THUMBNAIL_SIDE = 160


def write_page(path: str | Path, checkup: Checkup) -> Path:
    """Writes the page and returns its path. Raises OutputError."""
    name = checkup.capture.root.resolve().name
    body = [
        f"<header><p class=brand>nerfcore check</p><h1>{escape(name)}</h1>"
        f"<p class=note>{escape(str(checkup.capture.source))}</p></header>",
        _headline(checkup),
        f"<section><h2>Findings</h2>{_findings(checkup)}</section>",
        f"<section><h2>Cameras and box</h2>{_space(checkup)}</section>",
        _coverage(checkup),
        f"<section><h2>Photos</h2>{_photos(checkup)}</section>",
    ]
    page = PAGE.format(title=escape(f"{name}: check"), style=STYLE + CHECK_STYLE, body="".join(body))
    write_file(Path(path), page)
    return Path(path)


def _headline(checkup: Checkup) -> str:
    severities = [finding.severity for finding in checkup.findings]
    agreement, shares = (values[np.isfinite(values)] for values in (checkup.agreement, checkup.box_shares))
    side = float(np.ptp(checkup.box.transform.world_box.numpy(), axis=0).max())
    cards = [
        (str(len(checkup.photos)), "photos"),
        (" · ".join(str(severities.count(severity)) for severity in SEVERITIES), "severe, warnings, notes"),
        (f"{np.median(agreement):.0%}" if len(agreement) else "–", "photos agree (median)"),
        (f"{shares.mean():.0%}" if len(shares) else "–", "of rays meet the box"),
        (f"{side:.4g}", "units, side of the box"),
    ]
    shown = "".join(f"<div><b>{value}</b><span>{label}</span></div>" for value, label in cards)
    return f"<div class=cards>{shown}</div>"


def _findings(checkup: Checkup) -> str:
    if not checkup.findings:
        return "<p>Nothing is wrong with this capture.</p>"
    rows = "".join(
        f"<div class='finding {finding.severity}'><p><i>{finding.severity}</i><b>{escape(finding.kind)}</b></p>"
        f"<p>{escape(finding.what)}.</p><p class=note>{escape(finding.why[0].upper() + finding.why[1:])}.</p>"
        f"<p>→ {escape(finding.fix)}.</p></div>"
        for finding in checkup.findings
    )
    return f"<div class=findings>{rows}</div>"


def _space(checkup: Checkup) -> str:
    """The canvas and the numbers that its script draws."""
    frames = []
    for photo, pose in zip(checkup.photos, checkup.poses, strict=True):
        camera = photo.view.camera
        spread = 0.5 * camera.width / camera.fl_x, 0.5 * camera.height / camera.fl_y
        if camera.lens.is_wide:
            spread = 1.0, 1.0
        severity = _severity(checkup, photo.name)
        frames.append([photo.name, severity, _rounded(pose.flatten().tolist()), *_rounded(spread)])
    step = 1 + len(checkup.points) // MAX_POINTS
    colours = np.rint(255 * checkup.colours[::step]).astype(int).tolist()
    points = [[*_rounded(p), *c] for p, c in zip(checkup.points[::step].tolist(), colours, strict=True)]
    focus = focus_of(checkup.poses)
    middle = np.median(checkup.points, axis=0) if len(checkup.points) else checkup.poses[:, :, 3].numpy().mean(0)
    centres = checkup.poses[:, :, 3].numpy()
    data = dict(
        cameras=frames, points=points, box=checkup.box.transform.world_box.tolist(),
        focus=(middle if focus is None else focus).tolist(), up=checkup.poses[:, :, 1].mean(0).tolist(),
        reach=float(np.linalg.norm(centres - (middle if focus is None else focus), axis=1).max()) or 1.0,
    )
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        "<figure class=space><canvas tabindex=0 role=img aria-label='cameras, box and points'></canvas>"
        "<figcaption>Drag to turn, wheel to come nearer, double click to start again. Blue: the box. Dots: what the "
        "photos show. Pyramids: cameras, <i class=warning>orange</i> and <i class=severe>red</i> where something is "
        "wrong.<output></output></figcaption></figure>"
        f"<script type='application/json' id=space>{text}</script><script>{SPACE}</script>"
    )


def _rounded(values) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _severity(checkup: Checkup, name: str) -> int:
    """Of the worst finding about a photo: an index of SEVERITIES, or their number for none."""
    found = [SEVERITIES.index(finding.severity) for finding in checkup.findings_of.get(name, [])]
    return min(found, default=len(SEVERITIES))


def _coverage(checkup: Checkup) -> str:
    """A disc: the middle is what all look at, the centre of the disc is straight above it, the circle its own level."""
    around = directions(checkup.poses)
    if around is None:
        return (
            "<section><h2>Coverage</h2><p class=note>The cameras look the same way, or outward: there is no middle "
            "that they stand around.</p></section>"
        )
    azimuth, elevation = around
    radius, marks = 105, []

    def place(angle: float, height: float) -> tuple[float, float]:
        away = radius * (1 - height / (math.pi / 2))
        return 220 + away * math.cos(angle), 220 - away * math.sin(angle)

    for degrees in (60, 30, 0, -30, -60):
        marks.append(f"<circle class=grid cx=220 cy=220 r={radius * (1 - degrees / 90):.1f} />")
        marks.append(f"<text x=224 y={216 - radius * (1 - degrees / 90):.1f}>{degrees}°</text>")
    for start, width in gaps(azimuth, elevation):
        (x0, y0), (x1, y1) = place(start, -0.35), place(start + width, -0.35)
        r = radius * (1 + 0.35 / (math.pi / 2))
        large = int(width > math.pi)
        marks.append(f"<path class=gap d='M{x0:.1f} {y0:.1f}A{r:.1f} {r:.1f} 0 {large} 0 {x1:.1f} {y1:.1f}'/>")
    for photo, angle, height in zip(checkup.photos, azimuth, elevation, strict=True):
        x, y = place(float(angle), float(height))
        kind = (*SEVERITIES, "fine")[_severity(checkup, photo.name)]
        title = f"<title>{escape(photo.name)}</title>"
        marks.append(f"<circle class='dot {kind}' cx={x:.1f} cy={y:.1f} r=4>{title}</circle>")
    svg = f"<svg viewBox='0 0 440 440' role=img aria-label='directions of the cameras'>{''.join(marks)}</svg>"
    return (
        f"<section><h2>Coverage</h2><figure class=disc>{svg}<figcaption class=note>From where the middle is seen: "
        "straight above in the centre, its own level at 0°, from below outside. Orange arcs: nothing for more than "
        f"{GAP:g}°.</figcaption></figure></section>"
    )


def _photos(checkup: Checkup) -> str:
    order = sorted(range(len(checkup.photos)), key=lambda i: (_severity(checkup, checkup.photos[i].name), i))
    cells = []
    for rank, i in enumerate(order):
        photo, found = checkup.photos[i], checkup.findings_of.get(checkup.photos[i].name, [])
        kinds = "".join(f"<i class={finding.severity}>{escape(finding.kind)}</i>" for finding in found)
        image = f"<img alt='' src='{_thumbnail(photo)}'>" if found or rank < MAX_THUMBNAILS else ""
        gain = math.exp(np.mean(checkup.gains[i])) if np.isfinite(checkup.gains[i]).all() else math.nan
        facts = " · ".join(
            text for value, text in (
                (checkup.agreement[i], f"agrees {max(np.nan_to_num(checkup.agreement[i]), 0):.0%}"),
                (checkup.box_shares[i], f"box {np.nan_to_num(checkup.box_shares[i]):.0%}"),
                (gain, f"light {gain:.2f}×"),
            ) if math.isfinite(value)
        )
        caption = f"<b>{escape(photo.name)}</b><span>{facts}</span>{kinds}"
        cells.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    note = (
        "<p class=note>Agrees: how well others show the same where the poses say so, 0 is chance. Box: share of rays "
        "that meet it. Light: brightness against the others. "
        f"{count(len(order), 'photo')}, those with findings first.</p>"
    )
    return f"{note}<div class=thumbnails>{''.join(cells)}</div>"


def _thumbnail(photo) -> str:
    """A JPEG as a data URI."""
    image = (photo.view.rgb.numpy() * 255).round().astype(np.uint8)
    step = max(1, round(max(image.shape[:2]) / THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    iio.imwrite(buffer, image[::step, ::step], extension=".jpg", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


CHECK_STYLE = """
:root { --severe: #c8321f; --warning: #b86a00; --fine: #3c8a4d }
@media (prefers-color-scheme: dark) { :root { --severe: #ff8474; --warning: #f2ac4e; --fine: #79c489 } }
i { font-style: normal; font-weight: 600 }
i.severe, .severe > p:first-child i { color: var(--severe) }
i.warning, .warning > p:first-child i { color: var(--warning) }
i.note, .note > p:first-child i { color: var(--soft) }
.findings { display: grid; gap: 10px }
.finding { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--line);
  border-radius: 10px; padding: 10px 16px; margin: 0; color: var(--ink) }
.finding.severe { border-left-color: var(--severe) }
.finding.warning { border-left-color: var(--warning) }
.finding p { margin: 2px 0; overflow-wrap: anywhere }
.finding p:first-child i { display: inline-block; min-width: 84px }
.space, .disc, .thumbnails figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px }
.space { overflow: hidden }
.space canvas { display: block; width: 100%; height: min(560px, 70vh); touch-action: none; cursor: grab }
.space figcaption { padding: 8px 14px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line) }
.space output { display: block; color: var(--ink); font-weight: 600; min-height: 1.5em }
.disc { padding: 14px; max-width: 520px }
.disc .grid { stroke: var(--line); fill: none }
.gap { stroke: var(--warning); stroke-width: 3; fill: none; stroke-dasharray: 2 5 }
.dot { fill: var(--fine) }
.dot.severe { fill: var(--severe) }
.dot.warning { fill: var(--warning) }
.thumbnails { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px }
.thumbnails figure { padding: 8px; overflow: hidden }
.thumbnails img { display: block; width: 100%; height: 130px; object-fit: contain; border-radius: 6px }
.thumbnails figcaption { font-size: 12px; overflow-wrap: anywhere }
.thumbnails figcaption > * { display: block }
.thumbnails span { color: var(--soft) }
"""

# A small perspective view of lines and dots on a canvas: x right, y down on the page, the eye turns about a centre.
SPACE = """
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("space").textContent);
  const canvas = document.querySelector(".space canvas"), pen = canvas.getContext("2d");
  const output = document.querySelector(".space output");
  const add = (a, b, s) => a.map((v, i) => v + s * b[i]);
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const unit = a => { const n = Math.hypot(...a) || 1; return a.map(v => v / n); };
  const up = unit(data.up);
  const east = unit(cross(up, Math.abs(up[0]) < 0.9 ? [1, 0, 0] : [0, 1, 0])), north = cross(up, east);
  const start = { turn: 0.7, tilt: 0.45, away: 2.4 * data.reach };
  let eye = { ...start }, nearest = null, asked = false;

  function axes() {
    const level = add(east.map(v => v * Math.cos(eye.turn)), north, Math.sin(eye.turn));
    const back = add(level.map(v => v * Math.cos(eye.tilt)), up, Math.sin(eye.tilt));
    const right = unit(cross(up, back));
    return [right, cross(back, right), back];
  }
  function draw() {
    asked = false;
    const width = canvas.clientWidth, height = canvas.clientHeight, ratio = devicePixelRatio || 1;
    canvas.width = width * ratio; canvas.height = height * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(document.documentElement), ink = name => style.getPropertyValue(name).trim();
    const [right, above, back] = axes(), scale = 1.1 * Math.min(width, height);
    const place = p => {
      const d = add(p, data.focus, -1), depth = eye.away - dot(d, back);
      if (depth < 0.01 * data.reach) return null;
      return [width / 2 + scale * dot(d, right) / depth, height / 2 - scale * dot(d, above) / depth];
    };
    const line = (a, b) => { const p = place(a), q = place(b); if (p && q) { pen.moveTo(...p); pen.lineTo(...q); } };
    for (const [x, y, z, r, g, b] of data.points) {
      const p = place([x, y, z]);
      if (p) { pen.fillStyle = `rgb(${r},${g},${b})`; pen.fillRect(p[0] - 1, p[1] - 1, 2, 2); }
    }
    pen.lineWidth = 1.5; pen.strokeStyle = ink("--accent"); pen.beginPath();
    for (let i = 0; i < 8; i++) for (let k = 0; k < 3; k++) if (!(i >> k & 1)) {
      const corner = n => data.box[0].map((_, a) => data.box[n >> a & 1][a]);
      line(corner(i), corner(i | 1 << k));
    }
    pen.stroke();
    const size = 0.07 * data.reach, order = [...data.cameras].sort((a, b) => b[1] - a[1]);
    for (const camera of order) {
      const [, severity, m, x, y] = camera, shrink = size / Math.max(x, y, 0.3) * 0.6;
      const at = [m[3], m[7], m[11]];
      const local = (u, v, w) => at.map((c, i) => c + shrink * (m[4 * i] * u + m[4 * i + 1] * v - m[4 * i + 2] * w));
      const rim = [[-x, -y], [x, -y], [x, y], [-x, y]].map(([u, v]) => local(u, v, 1));
      pen.strokeStyle = [ink("--severe"), ink("--warning")][severity] || ink("--soft");
      pen.lineWidth = camera === nearest ? 2.5 : severity < 2 ? 1.8 : 1; pen.beginPath();
      rim.forEach((p, i) => { line(at, p); line(p, rim[(i + 1) % 4]); });
      line(local(-x / 3, y, 1), local(0, y * 1.4, 1)); line(local(0, y * 1.4, 1), local(x / 3, y, 1));
      pen.stroke();
      camera.spot = place(at);
    }
  }
  const tilt = by => { eye.tilt = Math.max(-1.55, Math.min(1.55, eye.tilt + by)); };
  const ask = () => { if (!asked) { asked = true; requestAnimationFrame(draw); } };
  const held = new Map();
  canvas.addEventListener("pointerdown", e => {
    canvas.setPointerCapture(e.pointerId); held.set(e.pointerId, [e.clientX, e.clientY]);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, e => held.delete(e.pointerId));
  canvas.addEventListener("pointermove", e => {
    const from = held.get(e.pointerId), to = [e.clientX, e.clientY];
    if (from) {
      if (held.size === 1) {
        eye.turn -= 0.008 * (to[0] - from[0]);
        tilt(0.008 * (to[1] - from[1]));
      } else {
        const other = [...held].find(([id]) => id !== e.pointerId)[1];
        const gap = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
        eye.away *= gap(from) / Math.max(gap(to), 1);
      }
      held.set(e.pointerId, to);
    } else {
      const frame = canvas.getBoundingClientRect(), x = to[0] - frame.left, y = to[1] - frame.top;
      const far = c => c.spot ? Math.hypot(c.spot[0] - x, c.spot[1] - y) : 1e9;
      const best = data.cameras.reduce((a, b) => far(b) < far(a) ? b : a);
      nearest = far(best) < 16 ? best : null;
      output.textContent = nearest ? nearest[0] : "";
    }
    ask();
  });
  canvas.addEventListener("wheel", e => {
    e.preventDefault(); eye.away *= Math.exp(0.001 * e.deltaY); ask();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => { eye = { ...start }; ask(); });
  canvas.addEventListener("keydown", e => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
    if (step) { e.preventDefault(); eye.turn += step[0]; tilt(step[1]); ask(); }
  });
  new ResizeObserver(ask).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ask);
})();
"""
