"""From the tokens of a caption to those of a picture, by an encoder and a decoder: Yu et al. 2022 (Parti)."""

from __future__ import annotations

from nerfcore.priors.base import register_prior
from nerfcore.priors.transformer import Transformer
from nerfcore.priors.vit_vqgan import ViTVQGAN


@register_prior("parti")
class Parti(Transformer):
    """A transformer over the codes of a ViT-VQGAN, every block of which also looks at what a text encoder, which learns
    with it, makes of the caption; samples are guided without a classifier (sections 2.1 and 2.2)."""

    needs = ("merges",)
    tiny = Transformer.tiny | dict(coder=dict(prior="vit_vqgan", **ViTVQGAN.tiny))
    own = dict(told="captions", coder=dict(prior="vit_vqgan"), scale=1.5)
