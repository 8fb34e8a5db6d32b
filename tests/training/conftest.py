"""What several tests of training use."""

import pytest

from nerfcore.training import cameras, optimizer


@pytest.fixture
def restless(monkeypatch):
    """Cameras move from the first steps on, right ones as well."""
    monkeypatch.setattr(cameras, "START_AT", 0.0)
    monkeypatch.setattr(cameras, "WRONG", 0.0)
    monkeypatch.setattr(optimizer, "CHANCE", 1e-6)
