"""Attention over sequences [B, T, width]: tokens of a caption, or the places of a picture, row after row."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Past:
    """Keys and values [B, heads, T, N] of the tokens that an attention has seen, for those that follow one by one."""

    key: Tensor | None = None
    value: Tensor | None = None

    def extended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """What there is and what comes, which stays."""
        if self.key is not None:
            key, value = torch.cat((self.key, key), 2), torch.cat((self.value, value), 2)
        self.key, self.value = key, value
        return key, value


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, equations 1 and section 3.2.2) of a sequence to itself or, with
    ``context_width``, to another one. Nothing says where a token stands: callers add positions."""

    def __init__(self, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width if context_width is None else context_width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, causal: bool = False,
        bias: Tensor | None = None, past: Past | None = None,
    ) -> Tensor:
        """x [B, T, width] looks at context [B, S, context_width], or at itself. Returns [B, T, width].

        mask [B, S], bool: False where nothing may look at, such as padding; a row without any True looks everywhere.
        causal: token t sees tokens up to t of its own sequence alone. bias: what is added to the logits, of a shape
        that broadcasts to [B, heads, T, S]. past: of the tokens before these, which S also counts and these are added
        to. Differentiable in: x, context, bias.
        """
        source = x if context is None else context
        query = self._split(self.query(x))
        key, value = (self._split(part) for part in self.key_value(source).chunk(2, -1))
        if past is not None:
            key, value = past.extended(key, value)
        (length, reach), least = (x.shape[1], key.shape[2]), torch.finfo(x.dtype).min
        if mask is not None:
            seen = mask[:, None, None, :]
            bias = torch.zeros((), dtype=x.dtype, device=x.device) if bias is None else bias
            bias = bias.masked_fill(~seen, least) if bias.ndim else torch.where(seen, bias, least)
        if causal and (bias is not None or length != reach):
            earlier = torch.ones(length, reach, dtype=torch.bool, device=x.device).tril(reach - length)
            bias, causal = torch.where(earlier, 0.0 if bias is None else bias, -torch.inf), False
        if bias is not None:
            bias = bias.to(x.dtype).expand(x.shape[0], self.heads, length, reach)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[B, heads, T, width / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class TransformerBlock(nn.Module):
    """Attention, and a network of each token, both on normalised input and added to what came (pre-norm, Xiong et al.
    2020). With ``context_width`` tokens also look at a context, in between."""

    def __init__(self, width: int, heads: int, context_width: int | None = None):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.crosses = context_width is not None
        if self.crosses:
            self.cross_norm, self.cross = nn.LayerNorm(width), Attention(width, heads, context_width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, causal: bool = False,
        bias: Tensor | None = None, context_mask: Tensor | None = None, past: Past | None = None,
    ) -> Tensor:
        """x [B, T, width] and context [B, S, context_width] -> [B, T, width]. mask [B, T], causal, bias and past are of
        the attention to itself, context_mask [B, S] of the other. Differentiable in: x, context, bias."""
        if self.crosses != (context is not None):
            raise ValueError(f"a block {'with' if self.crosses else 'without'} context_width got context {context!r}")
        x = x + self.attention(self.norm(x), mask=mask, causal=causal, bias=bias, past=past)
        if self.crosses:
            x = x + self.cross(self.cross_norm(x), context, mask=context_mask)
        return x + self.mlp(self.mlp_norm(x))
