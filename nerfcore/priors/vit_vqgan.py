"""VQGAN whose encoder and decoder are transformers over patches: Yu et al. 2022 (ViT-VQGAN), section 3."""

from __future__ import annotations

from nerfcore.priors.base import Facts, register_prior
from nerfcore.priors.blocks.vision import patch_decoder, patch_encoder
from nerfcore.priors.vqgan import VQGAN


@register_prior("vit_vqgan")
class ViTVQGAN(VQGAN):
    """``patch``: pixels along a side, of which each becomes one code; patch_width, patch_depth, patch_heads: of both
    transformers. Vectors are few numbers wide (section 3.2). Other settings are VQGAN's."""

    tiny = dict(
        codes=32, code_width=8, patch=2, patch_width=32, patch_depth=1, patch_heads=2, learning_rate=5e-3,
        feature_steps=2, adversarial=0.1,
    )  # fmt: skip

    def __init__(
        self, facts: Facts, codes: int = 256, code_width: int = 8, patch: int = 4, patch_width: int = 96,
        patch_depth: int = 3, patch_heads: int = 4, **others,
    ):
        channels, *spatial = facts.shape
        if patch < 2 or patch & (patch - 1) or any(side % patch for side in spatial):
            raise ValueError(f"a patch is a power of 2 that divides sides {spatial}, got {patch}")
        super().__init__(facts, codes, code_width, widths=[8] * (patch.bit_length() - 1), **others)
        del self.config["widths"]
        self.config |= dict(patch=patch, patch_width=patch_width, patch_depth=patch_depth, patch_heads=patch_heads)
        networks = self.places, patch, patch_width, patch_depth, patch_heads
        self.encoder = patch_encoder(channels, code_width, *networks)
        self.decoder = patch_decoder(code_width, channels, *networks)
