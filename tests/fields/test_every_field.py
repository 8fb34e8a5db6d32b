"""What holds of every field that a command or a saved model can name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nerfcore import fields
from nerfcore.errors import NerfcoreError

NAMES = sorted({path.stem for path in Path(fields.__file__).parent.glob("*.py")} - {"__init__", "base"})


@pytest.mark.parametrize("name", NAMES)
def test_a_field_has_the_name_of_its_file(name):
    kind = fields.field_named(name)
    assert kind.name == name and kind.__module__ == f"nerfcore.fields.{name}"


def test_an_unknown_field_is_refused_and_the_others_named():
    with pytest.raises(NerfcoreError, match=f"there is no field 'base'; choose {', '.join(NAMES)}"):
        fields.field_named("base")
