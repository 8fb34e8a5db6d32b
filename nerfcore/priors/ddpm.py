"""Denoising diffusion (Ho et al. 2020), with what Nichol and Dhariwal 2021 and Ho and Salimans 2021 added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.average import Average
from nerfcore.priors.blocks.condition import Condition, Given, needed, said_of
from nerfcore.priors.blocks.denoiser import Denoiser, bound
from nerfcore.priors.blocks.guidance import classifier_free, clipped
from nerfcore.priors.blocks.samplers import SAMPLERS, Denoise
from nerfcore.priors.blocks.schedule import noise_levels, power_spaced, spaced
from nerfcore.priors.blocks.unet import UNet

MOST = 80.0  # the highest level of samplers whose levels are even in a power (Karras et al. 2022, table 1)
SPACINGS = ("steps", "power")


class Diffuser(nn.Module):
    """A denoiser and what it is told: x, level, and labels or captions -> Denoised."""

    def __init__(self, network: nn.Module, condition: Condition | None, **options):
        super().__init__()
        self.denoiser, self.condition = Denoiser(network, **options), condition

    def said(self, count: int, **what) -> dict[str, Tensor]:
        """What the network is told; see :class:`~nerfcore.priors.blocks.condition.Condition`."""
        return {} if self.condition is None else self.condition(count, **what)


@register_prior("ddpm")
class DDPM(Prior):
    """Pictures out of noise, level by level.

    schedule, steps: of :func:`~nerfcore.priors.blocks.schedule.noise_levels`. target, learns_variance: of
    :class:`~nerfcore.priors.blocks.denoiser.Denoiser`; the bound by which the variance learns has the weight ``bound``.
    told: "nothing", "labels", "captions", or what is "given" by another network, of the width ``given_width`` and with
    ``given_tokens`` or without; of that the share ``silent`` is not said in training, so that ``scale`` can guide
    without a classifier. widths, blocks, patch, attend: of the :class:`~nerfcore.priors.blocks.unet.UNet`;
    said_width: of what it is told. sampler, evaluations, spacing: how samples are drawn, by so many levels, which are
    those of even "steps" or, as Heun's method needs, even in a "power". average: decay of the mean of the network that
    draws them.
    """

    tiny = dict(widths=(16, 32), patch=1, learning_rate=4e-3, average=0.9, evaluations=6)
    defaults = dict(
        schedule="cosine", steps=1000, target="velocity", learns_variance=False, bound=1.0, told="nothing",
        given_width=0, given_tokens=False, silent=0.1, scale=1.0, widths=(64, 128), blocks=1, patch=2, attend=64,
        said_width=128, sampler="dpm_solver", evaluations=20, spacing="steps", average=0.999, learning_rate=1e-3,
    )  # fmt: skip
    own: dict = {}  # a subclass's, over these
    within = staticmethod(clipped)  # what keeps a denoiser's pictures where pictures are

    def __init__(self, facts: Facts, **config):
        chosen = {**DDPM.defaults, **self.own, **config}
        self.needs = needed(chosen["told"], self.needs)
        super().__init__(facts, **chosen)
        if chosen["sampler"] not in SAMPLERS:
            raise ValueError(f"the sampler must be one of {', '.join(SAMPLERS)}, got {chosen['sampler']!r}")
        if chosen["spacing"] not in SPACINGS:
            raise ValueError(f"the spacing must be one of {', '.join(SPACINGS)}, got {chosen['spacing']!r}")
        self.register_buffer("levels", noise_levels(chosen["schedule"], chosen["steps"]), persistent=False)
        self.build(**{name: value for name, value in config.items() if name not in DDPM.defaults | self.own})
        self.average = Average(self.diffuser, chosen["average"])

    def build(self) -> None:
        """Makes ``diffuser``."""
        self.diffuser = self.diffusing(self.facts.shape)

    def diffusing(self, shape: Sequence[int], more_channels: int = 0) -> Diffuser:
        """A diffuser of pictures of a shape, whose network sees more channels than these."""
        chosen, facts, (channels, *spatial) = self.config, self.facts, shape
        given = dict(given=chosen["given_width"], tokens=chosen["given_tokens"])
        condition = Condition.of(chosen["told"], facts, chosen["said_width"], **given)
        learns, target = chosen["learns_variance"], chosen["target"]
        network = UNet(
            (channels + more_channels, *spatial), channels * (1 + learns), chosen["widths"], chosen["blocks"],
            chosen["patch"], chosen["attend"], condition and chosen["said_width"],
            condition and condition.context_width,
        )  # fmt: skip
        return Diffuser(network, condition, target=target, learns_variance=learns)

    @property
    def painter(self) -> Diffuser:
        """What samples are drawn by."""
        return self.average.module

    def networks(self) -> list[nn.Module]:
        return [self.diffuser.denoiser.network]

    def players(self) -> dict[str, Player]:
        return {"all": Player(list(self.diffuser.parameters()), self.config["learning_rate"], (0.9, 0.99), final=0.05)}

    def loss(self, player: str, batch: Batch, turn: Turn, given: Given | None = None) -> dict[str, Tensor]:
        """``loss``: L_simple, or L_hybrid, then also ``bits``: of a value, a term of the bound times all steps."""
        pictures, chosen = batch.pictures, self.config
        level, lower, noise = self.noised(pictures, turn.generator)
        said = self.diffuser.said(len(pictures), **said_of(batch, chosen["told"], chosen["silent"], turn, given))
        said |= self.seen(batch, turn)
        simple, term = self.diffuser.denoiser.losses(pictures, noise, level, lower, **said)
        if term is None:
            return {"loss": simple.mean()}
        return {"loss": simple.mean() + chosen["bound"] * term.mean(), "bits": term.mean() * len(self.levels)}

    def noised(self, pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A level of the schedule for each picture and the one below it, [B], and noise of deviation 1."""
        step = (torch.rand(len(pictures), generator=generator, device=generator.device) * len(self.levels)).long()
        levels = self.levels.to(pictures)
        noise = torch.randn(pictures.shape, generator=generator, device=generator.device)
        return levels[step], torch.where(step > 0, levels[step - 1], 0.0), noise.to(pictures)

    def seen(self, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        """What else the network sees in training, by its arguments' names."""
        return {}

    def after_step(self, batch: Batch, turn: Turn) -> None:
        self.average.update(self.diffuser)

    def denoise(
        self, count: int, labels=None, captions=None, scale: float | None = None, given: Given | None = None, **seen
    ) -> Denoise:
        """The denoiser of so many pictures of labels, captions or what is given, guided by ``scale`` if not by the
        prior's own; seen: what else the network sees."""
        scale, painter = self.config["scale"] if scale is None else scale, self.painter

        def told(**what) -> Denoise:
            said = painter.said(count, **what) | seen
            return lambda x, level: painter.denoiser(x, level, **said)

        if labels is None and captions is None and given is None:
            return self.within(told())
        return self.within(classifier_free(told(labels=labels, captions=captions, given=given), told(), scale))

    def draw(self, denoise: Denoise, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """[B, C, *spatial] of noise, by the prior's sampler and a denoiser."""
        levels = self.sampled_levels()
        noise = torch.randn(shape, generator=generator, device=generator.device).to(self.device)
        return SAMPLERS[self.config["sampler"]](denoise, levels[0].float() * noise, levels, generator)

    def sampled_levels(self) -> Tensor:
        """[evaluations + 1], falling to 0."""
        count, levels = self.config["evaluations"], self.levels
        if self.config["spacing"] == "steps":
            return spaced(levels, count)
        return power_spaced(levels[0].item(), min(levels[-1].item(), MOST), count).to(levels)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None, given: Given | None = None, **seen) -> Tensor:
        denoise = self.denoise(count, labels, captions, given=given, **seen)
        return self.draw(denoise, (count, *self.facts.shape), generator).clamp(-1, 1)

    @torch.no_grad()
    def bits(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """[B]: an upper bound of minus log p of pictures [B, C, *spatial], in bits per value, by all levels of the
        schedule; see :func:`~nerfcore.priors.blocks.denoiser.bound`."""
        return bound(self.denoise(len(pictures)), pictures, self.levels.float(), generator)
