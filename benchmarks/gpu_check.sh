#!/usr/bin/env bash
# The one command for a machine with a GPU: builds, tests, sanitises and times; writes benchmarks/results/GPU.json.
#   benchmarks/gpu_check.sh [build|tests|sanitize|ops|peers|scenes ...] [--scenes FOLDER] [--resume] [--limit SECONDS]
set -euo pipefail
checkout="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PYTHONPATH="$checkout${PYTHONPATH:+:$PYTHONPATH}"
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys, importlib.util; sys.exit(importlib.util.find_spec("torch") is None)'; then
  echo "There is no torch in $python; PYTHON=PATH names another one." >&2
  exit 1
fi
exec "$python" "$checkout/benchmarks/gpu.py" "$@"
