"""Progress on a terminal and in a log."""

import io
from types import SimpleNamespace

from rich.console import Console

from nerfcore.cli import console


def progress(stage="training", fraction=0.25, **more):
    shown = dict(step=1200, seconds_left=95.0, loss=0.00213, psnr=26.716, rays_per_second=7.1234e4)
    return SimpleNamespace(stage=stage, fraction=fraction, samples_per_second=1.3e6, **shown | more)


def log_of(*reports, terminal=False, clock=None, monkeypatch=None):
    if clock is not None:
        times = iter(clock)
        monkeypatch.setattr(console.time, "monotonic", lambda: next(times))
    file = io.StringIO()
    with console.TrainingDisplay(Console(file=file, force_terminal=terminal, width=80)) as display:
        for report in reports:
            display(report)
    return file.getvalue()


def test_a_log_has_a_line_every_ten_seconds_and_for_each_stage(monkeypatch):
    reports = [progress("loading", 0.0), *(progress(fraction=f) for f in (0.25, 0.3, 0.4)), progress("saving", 1.0)]
    lines = log_of(*reports, clock=[0.0, 1.0, 5.0, 11.5, 12.0], monkeypatch=monkeypatch).splitlines()
    rest = "26.72 dB · loss 2.13e-03 · 1 min 35 s left · step 1200 · 71.23k rays/s · 1.3M samples/s"
    assert lines == ["loading   0%", f"training  25% {rest}", f"training  40% {rest}", "saving 100%"]


def test_memory_is_stated_before_the_run():
    shown = log_of(progress("ready", 0.0, memory_limit=3 * 2**29, pool_bytes=0), progress())
    assert shown.startswith("memory: training needs at most 1.5 GiB beside the program itself\ntraining")
    shown = log_of(progress("ready", 0.0, memory_limit=3 * 2**29, pool_bytes=2**32), progress())
    assert "\nphotographs: too many for memory; drawn from a pool of 4.0 GiB on disk\n" in shown


def test_a_terminal_gets_a_bar():
    shown = log_of(progress("loading", 0.0), progress(), terminal=True)
    assert "━" in shown and "1 min 35 s left" in shown and "1.3M samples/s" in shown and "…" not in shown


def test_unknown_time_left_is_left_out():
    assert console.describe(progress(seconds_left=float("nan")))[0] == "26.72 dB · loss 2.13e-03"


def test_tables_keep_long_paths_whole(capsys):
    console.print_table([("a", "x" * 200), ("longer", "[bold]")])
    assert capsys.readouterr().out.splitlines() == [f"a       {'x' * 200}", "longer  [bold]"]


def test_stages_are_lines_where_there_is_no_terminal(capsys):
    with console.stages() as move:
        for stage, done in (("features", 0), ("features", 5), ("matches", 0), ("matches", 3)):
            move(stage, done, 5)
    assert capsys.readouterr().out == "features\nmatches\n"
