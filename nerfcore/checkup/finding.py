"""What a checkup finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["severe", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("severe", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing about a capture.

    kind: its name, a heading of docs/check.md. severity: "severe" where training is refused or spoilt, "warning" where
    quality is lost, "note" otherwise. what: the fact, with numbers. why: what it does. fix: a command, an option or an
    edit. photos: names of those it is about. applied: whether ``--apply`` puts it right.
    """

    kind: str
    severity: Severity
    what: str
    why: str
    fix: str
    photos: tuple[str, ...] = ()
    applied: bool = False


def names(photos: list[str] | tuple[str, ...], most: int = 6) -> str:
    """Some of them in words."""
    shown = ", ".join(photos[:most])
    return f"{shown} and {len(photos) - most} more" if len(photos) > most else shown


def count(number: int, what: str) -> str:
    """"1 photo", "2 photos"."""
    return f"{number} {what}{'' if number == 1 else 's'}"
