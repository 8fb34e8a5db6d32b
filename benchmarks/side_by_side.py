"""Every field on the built-in scene, for as long:  python benchmarks/side_by_side.py [--json FILE] [--picture FILE]

What ``nerfcore compare`` does, with the machine and the sources beside the figures; ``python docs/fields.py`` makes the
table of them. One held-out view in eight is scored: the large networks take minutes for each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from nerfcore.applications.compare import compare, table
from nerfcore.data import load_scene

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import digest, header, require_kernels, run, training_digest, write_json
from field_rows import _held_out

FIELDS = "ngp", "triplane", "tensorf", "plenoxels", "neus", "nerf", "frequency"
MINUTES, PRESET = 2.0, "fast"


def row_digest(field: str) -> str:
    """Of all that the figures of a field depend on."""
    sources = training_digest(f"nerfcore.fields.{field}", "nerfcore.applications.compare")
    return digest([Path(__file__), Path(_held_out.__file__)], sources)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Trains every field on the built-in scene.")
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=FIELDS, metavar="FIELD", help=", ".join(FIELDS))
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of each")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--picture", type=Path, help="and what the fields make of held-out views to this one (.png)")
    options = parser.parse_args(argv)
    require_kernels()
    with tempfile.TemporaryDirectory() as folder:
        scene = _held_out.every_eighth(load_scene(None))
        rows = compare(scene, options.fields, folder, minutes=options.minutes, preset=PRESET)
        if options.picture:
            options.picture.write_bytes(Path(folder, "comparison.png").read_bytes())
    rows = [row | {"digest": row_digest(row["field"])} for row in rows]
    if options.json:
        write_json(options.json, header() | {"minutes": options.minutes, "preset": PRESET, "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    run(main)
