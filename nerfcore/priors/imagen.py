"""A cascade of diffusions of captions, each of which doubles the sides: Saharia et al. 2022 (Imagen)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.condition import Given
from nerfcore.priors.blocks.denoiser import over
from nerfcore.priors.blocks.discriminator import halve, pyramid_of
from nerfcore.priors.blocks.guidance import dynamically_clipped
from nerfcore.priors.blocks.schedule import scale_of
from nerfcore.priors.blocks.style import double
from nerfcore.priors.ddpm import DDPM
from nerfcore.priors.dual_encoder import DualEncoder

MOST_BLUR = 0.5  # the highest level of noise on pictures that are enlarged, in training


class Stage(DDPM):
    """Diffusion of what captions say, whose thresholds are dynamic (section 2.3)."""

    within = staticmethod(dynamically_clipped)


class Enlarger(Stage):
    """The network also sees a picture of half the sides, doubled and with noise, and how much of it: what a smaller
    stage draws, with its faults, is then not unlike what this one learned from (section 2.4, Ho et al. 2021)."""

    def build(self) -> None:
        self.diffuser = self.diffusing(self.facts.shape, self.facts.shape[0] + 1)

    def seen(self, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        share = torch.rand(len(batch.pictures), generator=turn.generator, device=turn.generator.device)
        return self.beside(halve(batch.pictures), MOST_BLUR * share, turn.generator)

    def beside(self, small: Tensor, level: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Of pictures [B, C, *spatial / 2] and levels of noise [B]."""
        noise = torch.randn(small.shape, generator=generator, device=generator.device).to(small)
        level = over(level, small)
        blurred = double(scale_of(level) * (small + level * noise))
        return {"beside": torch.cat((blurred, level.expand_as(blurred[:, :1])), 1)}


@register_prior("imagen")
class Imagen(Prior):
    """A :class:`~nerfcore.priors.dual_encoder.DualEncoder` learns in the share ``spans[0]`` of the budget, and stays;
    what its text encoder makes of a caption is told to the stages, which learn in shares ``spans[1:]``, one after
    another: a base of small pictures, and one for each time that their sides double.

    reader: settings of the dual encoder, which sees the smallest pictures; stage: of every
    :class:`~nerfcore.priors.ddpm.DDPM`, and base, larger: of the first and of the others, over these; blur: level of
    noise on what is enlarged in samples.
    """

    needs = ("merges",)
    tiny = dict(
        spans=(0.05, 0.35, 0.6), reader=DualEncoder.tiny | dict(widths=(16,)),
        stage=DDPM.tiny | dict(said_width=16, widths=(32,)), base=dict(target="picture"),
        larger=dict(widths=(64,), average=0.7),
    )  # fmt: skip
    defaults = dict(
        spans=(0.1, 0.4, 0.25, 0.25), reader=dict(widths=(32, 64), text_width=64), stage=dict(scale=3.0),
        base=dict(patch=1), larger=dict(widths=(32, 64), evaluations=8, scale=1.0), blur=0.1,
    )  # fmt: skip

    def __init__(self, facts: Facts, **config):
        chosen = {**self.defaults, **config}
        super().__init__(facts, **chosen)
        self.levels, (channels, *spatial) = len(chosen["spans"]) - 1, facts.shape
        if self.levels < 1 or abs(sum(chosen["spans"]) - 1) > 1e-9 or min(chosen["spans"]) <= 0:
            raise ValueError(f"spans are two or more shares of 1, got {chosen['spans']}")
        if any(side % 2 ** (self.levels - 1) for side in spatial):
            raise ValueError(f"sides {spatial} cannot be halved {self.levels - 1} times")
        sizes = [
            replace(facts, shape=(channels, *(side >> level for side in spatial))) for level in range(self.levels)
        ][::-1]
        self.reader = DualEncoder(sizes[0], **chosen["reader"])
        width = self.reader.text_net.embedding.embedding_dim
        told = dict(told="given", given_width=width, given_tokens=True, **chosen["stage"])
        stages = [Stage(sizes[0], **told | chosen["base"])]
        stages += [Enlarger(size, **told | chosen["larger"]) for size in sizes[1:]]
        self.stages = nn.ModuleList(stages)

    def networks(self) -> list[nn.Module]:
        return [network for stage in self.stages for network in stage.networks()]

    def players(self) -> dict[str, Player]:
        """"reader", then "stage_0" and so on."""
        ends = torch.tensor(self.config["spans"], dtype=torch.float64).cumsum(0).tolist()
        players = [self.reader.players()["all"], *(stage.players()["all"] for stage in self.stages)]
        names = ["reader", *(f"stage_{level}" for level in range(self.levels))]
        spans = zip([0.0, *ends], [*ends[:-1], 1.0], strict=False)
        return {
            name: replace(player, span=span) for name, player, span in zip(names, players, spans, strict=True)
        }

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        sizes = pyramid_of(batch.pictures, self.levels)[::-1]
        if player == "reader":
            return self.reader.loss("all", replace(batch, pictures=sizes[0]), turn)
        level = int(player.rpartition("_")[2])
        batch = replace(batch, pictures=sizes[level])
        return self.stages[level].loss("all", batch, turn, given=self.read(batch.captions))

    def after_step(self, batch: Batch, turn: Turn) -> None:
        """The mean of the stage whose turn it was."""
        level = sum(turn.fraction >= player.span[0] for player in self.players().values()) - 2
        if level >= 0:  # it was not the reader's
            self.stages[level].after_step(batch, turn)

    @torch.no_grad()
    def read(self, captions: Sequence[str]) -> Given:
        """What the frozen text encoder makes of captions."""
        tokens, vector, mask = self.reader.text_net(captions)
        return Given(vector, tokens, mask)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        return self.grown(count, generator, captions)[-1]

    @torch.no_grad()
    def grown(self, count: int, generator: torch.Generator, captions: Sequence[str] | None = None) -> list[Tensor]:
        """What each stage makes of what the one before it made, from small to large, each in [-1, 1]."""
        self.check_captions(captions, count)
        given, (base, *larger) = self.read(captions), self.stages
        made = [base.sample(count, generator, given=given)]
        for stage in larger:
            level = torch.full((count,), self.config["blur"], device=self.device)
            made.append(stage.sample(count, generator, given=given, **stage.beside(made[-1], level, generator)))
        return made
