"""Contractive autoencoder (Rifai et al. 2011): a code that hardly moves where pictures change a little."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.func import jacrev, vmap
from torch.nn.functional import linear

from nerfcore.priors.autoencoder import Autoencoder
from nerfcore.priors.base import Batch, Facts, Turn, register_prior


@register_prior("contractive_ae")
class ContractiveAutoencoder(Autoencoder):
    """The squared error of a picture plus ``weight`` times the squared Frobenius norm of the code's Jacobian (equation
    2). Codes are sigmoids. With no ``widths`` one layer leads to the code, and its weights are those of the way back
    (section 2.1), or else contraction would be evaded by small weights here and large ones there."""

    tiny = dict(code=16, weight=1e-3, learning_rate=4e-3)

    def __init__(
        self, facts: Facts, code: int = 128, widths: Sequence[int] = (), weight: float = 0.1,
        learning_rate: float = 1e-3,
    ):
        super().__init__(facts, code, "mlp", widths, "sigmoid", learning_rate)
        self.config = dict(code=code, widths=list(widths), weight=weight, learning_rate=learning_rate)
        self.encoder.append(nn.Sigmoid())
        if not widths:
            self.bias, self.decoder = self.decoder[0].bias, self.decoder[1]

    def decode(self, codes: Tensor) -> Tensor:
        if self.config["widths"]:
            return self.decoder(codes)
        return self.decoder(linear(codes, self.encoder[1].weight.T, self.bias))

    def contraction(self, pictures: Tensor) -> Tensor:
        """Squared Frobenius norm of the Jacobian of the code at each picture, [B]. Differentiable in: pictures, the
        encoder's parameters."""
        if self.config["widths"]:
            return jacobian_square(self.encode, pictures)
        slope = self.encode(pictures)
        slope = slope * (1 - slope)
        return slope.square() @ self.encoder[1].weight.square().sum(1)

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        codes = self.encode(batch.pictures)
        self._remember(codes.detach())
        squares = (self.decode(codes) - batch.pictures).square()
        contraction = self.contraction(batch.pictures).mean()
        loss = squares.flatten(1).sum(1).mean() + self.config["weight"] * contraction
        return {"loss": loss, "mse": squares.mean(), "contraction": contraction}


def jacobian_square(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Squared Frobenius norm of the Jacobian of a function [B, …] -> [B, F], of each example by itself, exactly: [B].
    It takes F reverse passes. Differentiable in: x, and what the function is differentiable in."""
    jacobian = vmap(jacrev(lambda one: function(one[None])[0]))(x)
    return jacobian.square().flatten(1).sum(1)
