"""What is wrong with a capture, and how to put it right: :func:`check`, and the page that shows it."""

from nerfcore.checkup.checkup import Checkup, check
from nerfcore.checkup.finding import Finding

__all__ = ["Checkup", "Finding", "check"]
