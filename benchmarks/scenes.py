"""What whole training runs reached: ``scenes.py RUN [RUN …] --json F`` collects the metrics of run folders.

Each row is a run of ``nerfcore train SCENE --minutes M --out RUN``; a row of the same scene and budget is replaced.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import common
import yaml

KEPT = (
    "scene psnr ssim num_eval_images background steps train_seconds rays_per_second samples_per_second "
    "device backend peak_rss_bytes seed"
).split()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--json", type=Path, required=True, help="file to add the rows to")
    arguments = parser.parse_args(argv)
    old = json.loads(arguments.json.read_text())["rows"] if arguments.json.is_file() else []
    rows = {(row["scene"], row["minutes"], row["downscale"], row["seed"]): row for row in old}
    head = common.header()
    for folder in arguments.runs:
        metrics = json.loads((folder / "metrics.json").read_text())
        config = yaml.safe_load((folder / "config.yaml").read_text())
        row = {name: metrics[name] for name in KEPT} | {
            name: config[name] for name in ("minutes", "downscale", "preset")
        }
        row["sources"] = head["sources"]
        if (folder / "mesh.json").is_file():  # of benchmarks/mesh.py
            mesh = json.loads((folder / "mesh.json").read_text())
            row["mesh"] = {"chamfer_share": mesh["chamfer_share"], **mesh["mesh"]}
        rows[row["scene"], row["minutes"], row["downscale"], row["seed"]] = row
        print(f"{row['scene']}: {row['psnr']:.2f} dB, {row['steps']} steps")
    arguments.json.write_text(json.dumps({**head, "rows": list(rows.values())}, indent=1) + "\n")


if __name__ == "__main__":
    main()
