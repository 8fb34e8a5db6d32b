"""Priors that learn in stages: what the first of them is, and when it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nerfcore.priors.base import Facts, Player, Prior, prior_named


def coder_of(facts: Facts, settings: Mapping) -> Prior:
    """The prior whose codes another one learns: settings of its constructor, and its name as "prior"."""
    return prior_named(settings["prior"])(facts, **{name: settings[name] for name in settings if name != "prior"})


def until(players: dict[str, Player], end: float) -> dict[str, Player]:
    """Players that play in this share of the budget, from its start."""
    return {name: replace(player, span=(0.0, end)) for name, player in players.items()}
