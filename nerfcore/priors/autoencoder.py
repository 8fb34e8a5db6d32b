"""Autoencoders (Hinton and Salakhutdinov 2006): a short code from which a picture can be made again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.convolution import ConvDecoder, ConvEncoder, coded_size
from nerfcore.priors.blocks.initialise import initialise

ACTIVATIONS = {"silu": nn.SiLU, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "linear": nn.Identity}
OF_THE_PAST = 0.99  # share that a step keeps of the codes' mean and covariance


def code_networks(
    shape: Sequence[int], code: int, out_channels: int, network: str, widths: Sequence[int], activation: str = "silu",
    code_values: int | None = None,
) -> tuple[nn.Module, nn.Module]:
    """An encoder [B, C, *spatial] -> [B, code_values] and a decoder [B, code] -> [B, out_channels, *spatial].

    shape: (C, *spatial). network: "mlp", layers of these widths and back; "conv", of channels of these widths, each of
    which halves the sides. code_values: what the encoder gives, as many as the code has if not said otherwise.
    """
    values = code if code_values is None else code_values
    channels, *spatial = shape
    if network == "mlp":
        act, sizes = ACTIVATIONS[activation], [math.prod(shape), *widths]
        encoder: list[nn.Module] = [nn.Flatten()]
        for before, after in zip(sizes, sizes[1:], strict=False):
            encoder += [nn.Linear(before, after), act()]
        encoder.append(nn.Linear(sizes[-1], values))
        decoder: list[nn.Module] = []
        back = [code, *reversed(widths)]
        for before, after in zip(back, back[1:], strict=False):
            decoder += [nn.Linear(before, after), act()]
        decoder += [nn.Linear(back[-1], out_channels * math.prod(spatial)), nn.Unflatten(1, (out_channels, *spatial))]
        return initialise(nn.Sequential(*encoder), "xavier"), initialise(nn.Sequential(*decoder), "xavier")
    if network != "conv":
        raise ValueError(f"network must be mlp or conv, got {network!r}")
    small, dims, most = (widths[-1], *coded_size(spatial, len(widths))), len(spatial), widths[-1]
    there, back = ConvEncoder(channels, most, dims, widths), ConvDecoder(most, out_channels, dims, widths)
    encoder = nn.Sequential(there, nn.Flatten(), nn.Linear(math.prod(small), values))
    return encoder, nn.Sequential(nn.Linear(code, math.prod(small)), nn.Unflatten(1, small), back)


@register_prior("autoencoder")
class Autoencoder(Prior):
    """Encoder and decoder that minimise the mean squared error of a picture's values.

    ``code``: numbers in a code. ``network``: "mlp" or "conv"; ``widths`` are its own, see :func:`code_networks`, and
    ``activation`` is one of silu, relu, sigmoid or linear, which with no widths is a linear autoencoder: its optimum is
    PCA. A sample decodes a code of the Gaussian that has the mean and the covariance of the training pictures' codes,
    which is no distribution that anything was trained for.
    """

    batch_size = 128
    tiny = dict(code=16, widths=(64,))

    def __init__(
        self, facts: Facts, code: int = 32, network: str = "mlp", widths: Sequence[int] = (512, 256),
        activation: str = "silu", learning_rate: float = 1e-3,
    ):
        super().__init__(
            facts, code=code, network=network, widths=list(widths), activation=activation, learning_rate=learning_rate
        )
        self.encoder, self.decoder = code_networks(facts.shape, code, facts.shape[0], network, widths, activation)
        self.register_buffer("code_mean", torch.zeros(code))
        self.register_buffer("code_square", torch.zeros(code, code))
        self.register_buffer("code_weight", torch.zeros(()))

    def players(self) -> dict[str, Player]:
        return {"all": Player(list(self.parameters()), self.config["learning_rate"], final=0.02)}

    def encode(self, pictures: Tensor) -> Tensor:
        """[B, C, *spatial] in [-1, 1] -> [B, code]."""
        return self.encoder(pictures)

    def decode(self, codes: Tensor) -> Tensor:
        """[B, code] -> [B, C, *spatial], not clipped."""
        return self.decoder(codes)

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        codes = self.encode(batch.pictures)
        self._remember(codes.detach())
        error = (self.decode(codes) - batch.pictures).square().mean()
        return {"loss": error, "mse": error}

    def reconstruct(self, pictures: Tensor) -> Tensor:
        return self.decode(self.encode(pictures)).clamp(-1, 1)

    def _remember(self, codes: Tensor) -> None:
        """Moves the moments of the codes, whose weight says how far they are from their beginning, 0."""
        mean, square = codes.mean(0), codes.T @ codes / len(codes)
        for kept, new in ((self.code_mean, mean), (self.code_square, square), (self.code_weight, torch.ones(()))):
            kept.lerp_(new.to(kept), 1 - OF_THE_PAST)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        mean, square = (kept / self.code_weight.clamp(min=1e-6) for kept in (self.code_mean, self.code_square))
        power, axes = torch.linalg.eigh(square - torch.outer(mean, mean))
        noise = torch.randn(count, len(mean), generator=generator, device=self.device)
        return self.decode(mean + (noise * power.clamp(min=0).sqrt()) @ axes.T).clamp(-1, 1)
