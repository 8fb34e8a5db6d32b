"""Contractive autoencoder (Rifai et al. 2011): a code that hardly moves where pictures change a little."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.func import jacrev, vmap

from nerfcore.priors.autoencoder import Autoencoder
from nerfcore.priors.base import Batch, Facts, Turn, register_prior


@register_prior("contractive_ae")
class ContractiveAutoencoder(Autoencoder):
    """The squared error of a picture plus ``weight`` times the squared Frobenius norm of the code's Jacobian (equation
    2). Codes are sigmoids; with no ``widths`` one layer leads there. Unlike the paper's, the way back has weights of
    its own, so that a part of a smaller norm may be no more than a smaller code: look also at how far noise moves a
    code beside how far codes are apart."""

    tiny = dict(code=16, weight=1e-3)

    def __init__(
        self, facts: Facts, code: int = 128, widths: Sequence[int] = (), weight: float = 1.0,
        learning_rate: float = 2e-3,
    ):
        super().__init__(facts, code, "mlp", widths, "sigmoid", learning_rate)
        self.config = dict(code=code, widths=list(widths), weight=weight, learning_rate=learning_rate)
        self.encoder.append(nn.Sigmoid())

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
