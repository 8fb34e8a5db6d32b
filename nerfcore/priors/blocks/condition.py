"""What is said of a picture, as vectors and tokens that a network takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.text import TextEncoder


class Condition(nn.Module):
    """Labels or captions as what a :class:`~nerfcore.priors.blocks.unet.UNet` is told, by its arguments' names, and
    what it is told where nothing is said: a vector, and a token, that are learned (Ho and Salimans 2021, section 3).

    labels: how many there are; merges: of the captions' tokeniser; give one of both. width: of vector and tokens.
    """

    def __init__(self, width: int, labels: int = 0, merges: Sequence[Sequence[int]] | None = None, depth: int = 2):
        super().__init__()
        self.embedding = nn.Embedding(labels, width) if labels else None
        self.text = None if merges is None else TextEncoder(merges, width, depth)
        self.nothing = nn.Parameter(torch.zeros(width))

    @property
    def context_width(self) -> int | None:
        """Of tokens, if there are any."""
        return None if self.text is None else len(self.nothing)

    def forward(
        self, count: int, labels: Tensor | None = None, captions: Sequence[str] | None = None,
        silent: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """labels [count] or captions; silent [count], True where they are not said, everywhere if neither is given."""
        if labels is None and captions is None:
            silent = torch.ones(count, dtype=torch.bool, device=self.nothing.device)
        said = {"vector": self.nothing.expand(count, -1)}
        if self.embedding is not None and labels is not None:
            said = {"vector": self.embedding(labels)}
        elif self.text is not None:
            tokens, vector, mask = self.text([""] * count if captions is None else captions)
            said = {"vector": vector, "context": tokens, "mask": mask}
        if silent is not None:
            said["vector"] = torch.where(silent[:, None], self.nothing, said["vector"])
            if "context" in said:
                said["context"] = torch.where(silent[:, None, None], self.nothing, said["context"])
        return said
