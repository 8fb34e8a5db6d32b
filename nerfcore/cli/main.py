"""Entry of the `nerfcore` command: parses, runs the subcommand, and says in one sentence what went wrong."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import tyro

from nerfcore.cli.bench import Bench
from nerfcore.cli.build import Build
from nerfcore.cli.check import Check
from nerfcore.cli.compare import Compare
from nerfcore.cli.convert import Convert
from nerfcore.cli.doctor import Doctor
from nerfcore.cli.evaluate import Eval
from nerfcore.cli.export import Export
from nerfcore.cli.locate import Locate
from nerfcore.cli.options import INTERRUPTED
from nerfcore.cli.prior import Prior
from nerfcore.cli.process import Process
from nerfcore.cli.render import Render
from nerfcore.cli.train import Train
from nerfcore.cli.view import View
from nerfcore.errors import NerfcoreError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``nerfcore ARGV`` and returns its exit status: 0, 1 after an error in words, 130 after Ctrl-C.

    An option that does not exist ends the process with status 2, as everywhere.
    """
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
        try:
            command = tyro.cli(
                Train | Process | Check | View | Eval | Render | Export | Locate | Compare | Convert | Prior | Build
                | Doctor | Bench,
                prog="nerfcore", args=argv,
                description="Trains radiance fields on photographs, and shows, renders, scores and exports them.",
                config=(tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff),
            )
            return command.run()
        except (NerfcoreError, ValueError, OSError) as error:
            _say(str(error))
            return 1
        except KeyboardInterrupt:
            _say("stopped")
            return INTERRUPTED


def _say(text: str) -> None:
    print("nerfcore:", " ".join(text.split()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
