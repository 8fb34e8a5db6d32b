"""Networks that tell true pictures [B, C, *spatial] from false ones, as logits: above 0 is true."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nerfcore.priors.blocks.convolution import convolution
from nerfcore.priors.blocks.initialise import initialise

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class StridedConvolutions(nn.Sequential):
    """[B, channels, *spatial] -> [B, widths[-1], *spatial / 2^len(widths)]: convolutions of 4 that halve the sides,
    batch norm after all but the first, leaky rectifiers of slope 0.2 (Radford et al. 2016, section 3)."""

    def __init__(self, channels: int, dims: int, widths: Sequence[int]):
        layers: list[nn.Module] = []
        for before, width in zip((channels, *widths[:-1]), widths, strict=True):
            layers.append(convolution(dims)(before, width, 4, stride=2, padding=1, bias=not layers))
            layers += [BATCH_NORMS[dims - 1](width)] if len(layers) > 1 else []
            layers.append(nn.LeakyReLU(0.2))
        super().__init__(*layers)


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches alone (Isola et al. 2017, section 2.2.2): what is true of texture is, everywhere."""

    def __init__(self, channels: int, dims: int = 2, widths: Sequence[int] = (32, 64)):
        super().__init__()
        self.body = StridedConvolutions(channels, dims, widths)
        self.head = convolution(dims)(widths[-1], 1, 3, padding=1)
        initialise(self, "normal")

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits [B, 1, *spatial / 2^len(widths)], one a patch. Differentiable in: pictures (twice)."""
        return self.head(self.body(pictures))
