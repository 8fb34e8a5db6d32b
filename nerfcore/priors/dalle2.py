"""Pictures by the embedding that a caption's picture would have: Ramesh et al. 2022 (DALL-E 2, unCLIP)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from nerfcore.blocks.encoding import position_encoding
from nerfcore.priors.base import Batch, Facts, Player, Prior, Turn, register_prior
from nerfcore.priors.blocks.attention import TransformerBlock
from nerfcore.priors.blocks.condition import Given
from nerfcore.priors.blocks.denoiser import Denoiser
from nerfcore.priors.blocks.samplers import dpm_solver
from nerfcore.priors.blocks.schedule import noise_levels, spaced
from nerfcore.priors.blocks.sequence import CausalTransformer, draw_sequence, stepwise
from nerfcore.priors.blocks.unet import NOISE_SCALE
from nerfcore.priors.ddpm import DDPM
from nerfcore.priors.dual_encoder import DualEncoder

REACH = 3.0  # deviations of a component that bins cover


@register_prior("dalle2")
class DALLE2(Prior):
    """A :class:`~nerfcore.priors.dual_encoder.DualEncoder` learns in the share ``encoder_span`` of the budget, and
    stays; a decoder, which is DDPM told a picture's embedding, in the share ``decoder_span``; then, in equal parts of
    the rest, the ``priors`` from a caption to the embedding of its picture: "diffusion", "autoregressive" or both.

    encoder, decoder: settings of those two; width, depth, heads: of the priors' transformers; components, bins: numbers
    of the principal components that are drawn one after another, and of their values; evaluations: of the diffusion of
    embeddings. ``by`` (attribute): which prior samples are drawn by, or "caption", whose own embedding is then used.
    """

    needs = ("merges",)
    tiny = dict(
        encoder=DualEncoder.tiny | dict(widths=(16,)), encoder_span=0.1,
        decoder=DDPM.tiny | dict(said_width=16, widths=(32,), target="picture"), decoder_span=0.7, width=32,
        depth=1, heads=2, components=4, bins=16, evaluations=4, learning_rate=4e-3,
    )  # fmt: skip
    defaults = dict(
        encoder={}, encoder_span=0.2, decoder=dict(scale=2.0), decoder_span=0.55, priors=("diffusion",), width=128,
        depth=3, heads=4, components=32, bins=64, evaluations=20, learning_rate=1e-3,
    )  # fmt: skip

    def __init__(self, facts: Facts, **config):
        chosen = {**self.defaults, **config}
        super().__init__(facts, **chosen)
        unknown = set(chosen["priors"]) - set(KINDS)
        if unknown or not chosen["priors"]:
            raise ValueError(f"priors are one or more of {', '.join(KINDS)}, got {list(chosen['priors'])}")
        self.encoder = DualEncoder(facts, **chosen["encoder"])
        wide, text = self.encoder.config["width"], self.encoder.text_net.embedding.embedding_dim
        self.decoder = DDPM(facts, told="given", given_width=wide, **chosen["decoder"])
        self.priors = nn.ModuleDict({kind: KINDS[kind](wide, text, chosen) for kind in chosen["priors"]})
        self.by = chosen["priors"][0]

    def networks(self) -> list[nn.Module]:
        return self.decoder.networks()

    def players(self) -> dict[str, Player]:
        """"encoder", "decoder", and each of the priors, one after another."""
        chosen, count = self.config, len(self.priors)
        first, second = chosen["encoder_span"], chosen["encoder_span"] + chosen["decoder_span"]
        made = {
            "encoder": replace(self.encoder.players()["all"], span=(0.0, first)),
            "decoder": replace(self.decoder.players()["all"], span=(first, second)),
        }
        for number, (kind, part) in enumerate(self.priors.items()):
            span = tuple(second + (1 - second) * (number + end) / count for end in (0, 1))
            made[kind] = Player(list(part.parameters()), chosen["learning_rate"], (0.9, 0.99), final=0.02, span=span)
        return made

    def loss(self, player: str, batch: Batch, turn: Turn) -> dict[str, Tensor]:
        if player == "encoder":
            return self.encoder.loss("all", batch, turn)
        with torch.no_grad():
            embedding = self.embed(batch.pictures)
        if player == "decoder":
            for part in self.priors.values():
                part.see(embedding)
            return self.decoder.loss("all", batch, turn, given=Given(embedding))
        return {"loss": self.priors[player].loss(embedding, self.read(batch.captions), turn)}

    def after_step(self, batch: Batch, turn: Turn) -> None:
        first = self.config["encoder_span"]
        if first <= turn.fraction < first + self.config["decoder_span"]:
            self.decoder.after_step(batch, turn)

    def embed(self, pictures: Tensor) -> Tensor:
        """[B, width] of pictures, of mean square 1."""
        return self.encoder.embed_pictures(pictures) * math.sqrt(self.encoder.config["width"])

    @torch.no_grad()
    def read(self, captions: Sequence[str]) -> Given:
        """What the frozen encoder makes of captions: their embedding, as :meth:`embed` scales it, and tokens."""
        tokens, pooled, mask = self.encoder.text_net(captions)
        embedding = normalize(self.encoder.text_projection(pooled), dim=1)
        return Given(embedding * math.sqrt(embedding.shape[1]), tokens, mask)

    @torch.no_grad()
    def sample(self, count, generator, labels=None, captions=None) -> Tensor:
        self.check_captions(captions, count)
        said = self.read(captions)
        embedding = said.vector if self.by == "caption" else self.priors[self.by].sample(said, generator)
        return self.decoder.sample(count, generator, given=Given(embedding))

    @torch.no_grad()
    def variations(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Other pictures with the embeddings of these, [B, C, *spatial] (section 3.1)."""
        return self.decoder.sample(len(pictures), generator, given=Given(self.embed(pictures)))


class EmbeddingDiffusion(nn.Module):
    """From what is said of a picture to its embedding by diffusion, whose network says the embedding itself (section
    2.2): a transformer over the caption's embedding, the noise and the noisy embedding, that looks at its tokens."""

    def __init__(self, wide: int, text: int, chosen: dict):
        super().__init__()
        network = _EmbeddingNetwork(wide, text, chosen["width"], chosen["depth"], chosen["heads"])
        self.denoiser = Denoiser(network, "picture")
        self.register_buffer("levels", noise_levels("cosine").float(), persistent=False)
        self.evaluations = chosen["evaluations"]

    def see(self, embedding: Tensor) -> None:
        """Nothing is learned of embeddings alone."""

    def loss(self, embedding: Tensor, said: Given, turn: Turn) -> Tensor:
        random, count = turn.generator, len(self.levels)
        level = self.levels[torch.randint(count, (len(embedding),), generator=random, device=random.device)]
        noise = torch.randn(embedding.shape, generator=random, device=random.device)
        return self.denoiser.losses(embedding, noise.to(embedding), level, **said._asdict())[0].mean()

    def sample(self, said: Given, generator: torch.Generator) -> Tensor:
        """Of two the one that is nearer to the caption's (section 2.2)."""
        levels, both = spaced(self.levels, self.evaluations), []
        for _ in range(2):
            noise = torch.randn(said.vector.shape, generator=generator, device=generator.device).to(said.vector)
            both.append(dpm_solver(lambda x, at: self.denoiser(x, at, **said._asdict()), levels[0] * noise, levels))
        near = torch.stack([(x * said.vector).sum(1) for x in both])
        return torch.where((near[0] >= near[1])[:, None], *both)


class _EmbeddingNetwork(nn.Module):
    def __init__(self, wide: int, text: int, width: int, depth: int, heads: int):
        super().__init__()
        self.said, self.enter, self.leave = nn.Linear(wide, width), nn.Linear(wide, width), nn.Linear(width, wide)
        self.place = nn.Parameter(0.02 * torch.randn(3, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, text) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, noise: Tensor, vector: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """x [B, wide], noise [B], and what is said."""
        level = position_encoding(NOISE_SCALE * noise, self.place.shape[1])
        sequence = torch.stack((self.said(vector), level, self.enter(x)), 1) + self.place
        for block in self.blocks:
            sequence = block(sequence, tokens, context_mask=mask)
        return self.leave(self.norm(sequence[:, -1]))


class EmbeddingSequence(nn.Module):
    """The same by principal components of embeddings, the greatest first, each of which is one of ``bins`` values
    (section 2.2). Their axes follow from the embeddings that the decoder saw."""

    def __init__(self, wide: int, text: int, chosen: dict):
        super().__init__()
        self.components, self.bins, width = min(chosen["components"], wide), chosen["bins"], chosen["width"]
        self.said = nn.Linear(wide, width)
        self.sequence = CausalTransformer(self.bins, self.components, width, chosen["depth"], chosen["heads"], text)
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("sums", torch.zeros(wide))
        self.register_buffer("squares", torch.zeros(wide, wide))

    @torch.no_grad()
    def see(self, embedding: Tensor) -> None:
        self.count += len(embedding)
        self.sums += embedding.sum(0)
        self.squares += embedding.T @ embedding

    def axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean [wide], principal axes [wide, components] and deviations along them [components]."""
        count = self.count.clamp(min=1)
        mean = self.sums / count
        values, vectors = torch.linalg.eigh(self.squares / count - torch.outer(mean, mean))
        order = torch.arange(len(values) - 1, len(values) - 1 - self.components, -1, device=values.device)
        return mean, vectors[:, order], values[order].clamp(min=1e-6).sqrt()

    def binned(self, embedding: Tensor) -> Tensor:
        """[B, wide] -> [B, components], whole numbers."""
        mean, axes, deviation = self.axes()
        share = ((embedding - mean) @ axes / deviation / REACH + 1) / 2
        return (share * self.bins).long().clamp(0, self.bins - 1)

    def embedding(self, index: Tensor) -> Tensor:
        """The middle of bins [B, components] -> [B, wide], of mean square 1."""
        mean, axes, deviation = self.axes()
        value = ((index + 0.5) / self.bins * 2 - 1) * REACH * deviation
        found = mean + value @ axes.T
        return normalize(found, dim=1) * math.sqrt(found.shape[1])

    def loss(self, embedding: Tensor, said: Given, turn: Turn) -> Tensor:
        index = self.binned(embedding)
        return cross_entropy(self.sequence(index[:, :-1], **self._told(said)).mT, index)

    def sample(self, said: Given, generator: torch.Generator) -> Tensor:
        step = stepwise(self.sequence, self._told(said), self.sequence.nothing())
        return self.embedding(draw_sequence(step, len(said.vector), self.components, generator))

    def _told(self, said: Given) -> dict[str, Tensor]:
        return dict(first=self.said(said.vector)[:, None], context=said.tokens, context_mask=said.mask)


KINDS = {"diffusion": EmbeddingDiffusion, "autoregressive": EmbeddingSequence}
