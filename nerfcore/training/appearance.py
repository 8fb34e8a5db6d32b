"""How the colours of photographs differ from those of the field, learned together with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nerfcore.training.config import Appearance

UNIT = 5.0
"""What parameters are counted in: logarithms of exposures are larger than angles, and learn at the same rate."""

LEAST_COSINE = 0.1  # of the angle at which the brightness of pictures stops to fall off


class PhotoAppearance(nn.Module):
    """By how much photographs [N] differ from the mean of their capture, at first not at all.

    "exposure": each colour of a photograph is some times as bright, 3 numbers. "affine": its colours are an affine map
    of the field's (Rematas et al. 2022, Urban Radiance Fields, equation 5, without the network: a photograph has many
    more pixels than the map has numbers), and fall off with a power of the cosine of the angle to the camera's axis,
    as light through a lens does; 13 numbers.

    The numbers are the logarithm of the map, an element of the Lie algebra, in UNIT: all maps have an inverse, and the
    mean over all photographs, which no photograph tells from the field, is taken out. anchored: there is a field that
    stands still; nothing is taken out. The fall-off is no difference between photographs: it stays whole.
    """

    def __init__(self, images: int, kind: Appearance, anchored: bool = False):
        super().__init__()
        self.anchored = anchored
        self.colour = nn.Parameter(torch.zeros(images, *dict(exposure=(3,), affine=(3, 4))[kind]))
        self.falloff = nn.Parameter(torch.zeros(images)) if kind == "affine" else None

    def logarithms(self) -> Tensor:
        """Of exposures [N, 3], or of affine maps [N, 3, 4], from the field to photographs."""
        return UNIT * (self.colour if self.anchored else self.colour - self.colour.mean(0))

    def in_field(self, colour: Tensor, z_scale: Tensor, image: Tensor) -> Tensor:
        """Colours [R, 3] of photographs [R] as the field should have them, at cosines [R] between ray and axis."""
        return _mapped(-self.logarithms(), colour / self._light(z_scale, image), image)

    def in_photograph(self, colour: Tensor, z_scale: Tensor, image: Tensor) -> Tensor:
        """Colours [R, 3] of the field as photographs [R] show them: the inverse of :meth:`in_field`."""
        return _mapped(self.logarithms(), colour, image) * self._light(z_scale, image)

    def gains(self) -> Tensor:
        """[N, 3]: by how much photographs show each colour brighter than the field does, its mixture with others and
        offsets aside."""
        logarithms = self.logarithms()
        return (logarithms if logarithms.ndim == 2 else logarithms.diagonal(dim1=1, dim2=2)).exp()

    def _light(self, z_scale: Tensor, image: Tensor) -> Tensor | float:
        if self.falloff is None:
            return 1.0
        return (z_scale.clamp(min=LEAST_COSINE) ** (UNIT * self.falloff[image]))[:, None]


class PhotoCodes(nn.Module):
    """What photographs [N] show otherwise than their mean: numbers [N, K] that the field itself sees beside the
    direction (the latent embedding of Martin-Brualla et al. 2021, NeRF in the Wild, section 4.1), at first 0.

    So light may differ here and not there, as shadows and lamps do, which no map of all colours of a photograph tells.
    The mean over all photographs is taken out: code 0 is the mean appearance. anchored: as in PhotoAppearance.
    """

    def __init__(self, images: int, features: int, anchored: bool = False):
        super().__init__()
        self.anchored = anchored
        self.code = nn.Parameter(torch.zeros(images, features))

    def codes(self) -> Tensor:
        """[N, K], as a field's :meth:`~nerfcore.fields.base.Field.color` takes them."""
        return UNIT * (self.code if self.anchored else self.code - self.code.mean(0))


def _mapped(logarithms: Tensor, colour: Tensor, image: Tensor) -> Tensor:
    """Colours [R, 3] after the maps of images [R]."""
    if logarithms.ndim == 2:
        return logarithms.exp().index_select(0, image) * colour
    maps = torch.linalg.matrix_exp(nn.functional.pad(logarithms, (0, 0, 0, 1)))[:, :3].index_select(0, image)
    return (maps[:, :, :3] @ colour[:, :, None]).squeeze(-1) + maps[:, :, 3]
