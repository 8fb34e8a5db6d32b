"""TrainConfig: defaults · budgets · bad values in words · through YAML and back."""

from dataclasses import asdict
from typing import get_args

import pytest
import yaml

from nerfcore.errors import NerfcoreError
from nerfcore.training.config import Preset, TrainConfig


def test_five_minutes_unless_told_otherwise():
    assert TrainConfig().minutes == 5
    assert TrainConfig(steps=10).minutes is None and TrainConfig(minutes=0.5).steps is None
    with pytest.raises(NerfcoreError, match="give minutes or steps, not both"):
        TrainConfig(minutes=1, steps=10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(minutes=0), "budget must be positive"),
        (dict(minutes=-1.0), "budget must be positive"),
        (dict(steps=0), "budget must be positive"),
        (dict(preset="huge"), "preset must be one of fast, default, best, got 'huge'"),
        (dict(table_storage="int8"), "table_storage must be one of float32, float16, bfloat16, got 'int8'"),
        (dict(precision="float16"), "precision must be one of float32, tf32, bf16, fp16, got 'float16'"),
        (dict(refine="lenses"), "refine must be one of none, poses, cameras, got 'lenses'"),
        (dict(bounds="sphere"), "bounds must be one of auto, box, contracted, got 'sphere'"),
        (dict(background="green"), "background must be one of random, white, black, learned, got 'green'"),
        (dict(background="white", bounds="contracted"), "has its own sky; train before white with bounds box"),
        (dict(downscale=0), "downscale must be 1 or more, got 0"),
        (dict(minutes=float("nan")), "budget must be positive"),
    ],
    ids=str,
)
def test_bad_values_are_told_in_words(settings, message):
    with pytest.raises(NerfcoreError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize("preset", get_args(Preset))
def test_survives_yaml(preset):
    config = TrainConfig(steps=7, box=(0, 0, 0, 1, 1, 1), preset=preset, seed=3, field_config=dict(log2_table=9))
    assert TrainConfig(**yaml.safe_load(yaml.safe_dump(asdict(config)))) == config
