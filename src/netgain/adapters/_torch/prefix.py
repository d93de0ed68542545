"""Keys and values of a method's own inside a network's attention, whoever calls it.

Every layer of a network asks one function for its attention, by a name in its config. Under netgain's name it is the
library's own function, and what a layer's prefix adds to it. So caches, masks and generation are as they were.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from netgain.adapters._torch.hooked import HookedAdapter, normal
from netgain.adapters.budget import solve
from netgain.errors import UserError
from netgain.models.lm import LM

if TYPE_CHECKING:
    from netgain.adapters.prefix import Prefix as PrefixMethod

LIBRARY, OURS, LOOK = "sdpa", "netgain_prefix", "netgain_look"
SITE = "_netgain_prefix"

Attended = tuple[Tensor, Tensor | None]


class Prefix(nn.Module):
    """P and R (heads of keys, length, width) ~ N(0, 1 / width); g (heads,) = 0 in a gated one."""

    def __init__(self, shape: "Shape", length: int, gated: bool, generator: torch.Generator) -> None:
        super().__init__()
        size = (shape.key_heads, length, shape.width)
        self.keys = normal(size, shape.width**-0.5, generator)
        self.values = normal(size, shape.width**-0.5, generator)
        self.gate = nn.Parameter(torch.zeros(shape.heads)) if gated else None

    def forward(
        self, layer: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, keywords: dict[str, Any]
    ) -> Attended:
        """q (B, h, T, d), k and v (B, h_k, S, d) -> (B, T, h, d)."""
        keys, values = (t.to(q.dtype).expand(len(q), -1, -1, -1) for t in (self.keys, self.values))
        if self.gate is None:
            whole = torch.cat([keys, k], 2), torch.cat([values, v], 2)
            seen = _joined_mask(layer, q, mask, keys.shape[2], keywords)
            return sdpa_attention_forward(layer, q, *whole, seen, **{**keywords, "is_causal": False})
        output, weights = sdpa_attention_forward(layer, q, k, v, mask, **keywords)
        scale = keywords.get("scaling")
        own = F.scaled_dot_product_attention(q, keys, values, scale=scale, enable_gqa=q.shape[1] != keys.shape[1])
        return output + (self.gate.tanh().to(q.dtype)[:, None, None] * own).transpose(1, 2), weights


def _joined_mask(
    layer: nn.Module, q: Tensor, mask: Tensor | None, length: int, keywords: dict[str, Any]
) -> Tensor | None:
    """The mask over prefix and tokens: nobody is kept from the prefix."""
    if mask is not None:
        return F.pad(mask, (length, 0), value=True if mask.dtype == torch.bool else 0.0)
    causal = keywords.get("is_causal")
    tokens = q.shape[2]
    if tokens == 1 or not (getattr(layer, "is_causal", True) if causal is None else causal):
        return None
    return torch.ones(tokens, length + tokens, dtype=torch.bool, device=q.device).tril(length)


@dataclass(frozen=True)
class Shape:
    """What one layer attends with: heads, heads of keys and values, and how wide each is."""

    heads: int
    key_heads: int
    width: int


@dataclass(frozen=True)
class Site:
    """A layer's prefix, and the adapter that says whether it is on."""

    prefix: Prefix
    adapter: HookedAdapter


def _attend(layer: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **keywords: Any) -> Attended:
    site = vars(layer).get(SITE)
    if site is None or not site.adapter.active:
        return sdpa_attention_forward(layer, q, k, v, mask, **keywords)
    return site.prefix(layer, q, k, v, mask, keywords)


class _Under:
    """The network's attention under another name, until it is removed."""

    def __init__(self, lm: LM, name: str, function: Callable[..., Attended]) -> None:
        ALL_ATTENTION_FUNCTIONS.register(name, function)
        ALL_MASK_ATTENTION_FUNCTIONS.register(name, sdpa_mask)
        self.config = lm.net.config
        self.config._attn_implementation = name

    def remove(self) -> None:
        """The library's own again."""
        self.config._attn_implementation = LIBRARY


@torch.no_grad()
def attending(lm: LM) -> dict[str, tuple[nn.Module, Shape]]:
    """Every layer that attends, by its name: found by letting the network read two tokens."""
    if lm.net.config._attn_implementation != LIBRARY:
        raise UserError(
            f"method prefix: {lm.name} computes its attention in a way that no prefix can be put into; choose lora."
        )
    names = {module: name for name, module in lm.net.named_modules()}
    found: dict[str, tuple[nn.Module, Shape]] = {}

    def look(layer: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **keywords: Any) -> Attended:
        found[names[layer]] = layer, Shape(q.shape[1], k.shape[1], k.shape[3])
        return sdpa_attention_forward(layer, q, k, v, mask, **keywords)

    under = _Under(lm, LOOK, look)
    try:
        lm.hidden(torch.full((1, 2), lm.pad_id, device=lm.device))
    finally:
        under.remove()
    return found


def attach(method: "PrefixMethod", lm: LM, generator: torch.Generator) -> HookedAdapter:
    """A prefix in every layer that attends."""
    layers = attending(lm)
    gated = method.form == "gated"
    shapes = [shape for _, shape in layers.values()]
    length = method.length
    if method.budget is not None:
        each = sum(2 * shape.key_heads * shape.width for shape in shapes)
        length = solve(method.budget, lm, each, sum(shape.heads for shape in shapes) if gated else 0)
    modules: dict[str, nn.Module] = {
        name: Prefix(shape, length, gated, generator) for name, (_, shape) in layers.items()
    }
    adapter = HookedAdapter(lm, modules, {"kind": method.kind, "form": method.form, "length": length})
    for name, (layer, _) in layers.items():
        prefix = modules[name]
        assert isinstance(prefix, Prefix)
        adapter.keep(_Placed(layer, Site(prefix, adapter)))
    adapter.keep(_Under(lm, OURS, _attend))
    return adapter


class _Placed:
    """A layer's prefix where `_attend` finds it; no part of the network, whose parameters stay its own."""

    def __init__(self, layer: nn.Module, site: Site) -> None:
        self.layer = layer
        vars(layer)[SITE] = site

    def remove(self) -> None:
        """Take it out."""
        del vars(self.layer)[SITE]
