"""Bottleneck adapters: h + U relu(D h + c) + u behind attention and feed-forward (Houlsby et al. 2019).

D is random; only U and u begin at zero. With both projections at zero nothing but u would ever have a gradient.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from netgain.adapters.budget import Budget, solve
from netgain.adapters.method import Adapter, Method

if TYPE_CHECKING:
    import torch
    from torch import nn

    from netgain.models.lm import LM


class Bottleneck(Method):
    """`width` features in each; `budget`, such as 0.5%, chooses it. `targets` names the layers behind which they stand
    (the ends of attention and feed-forward, unless given)."""

    kind: Literal["bottleneck"] = "bottleneck"
    width: PositiveInt = 32
    budget: Budget | None = None
    targets: tuple[str, ...] | None = None

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        from netgain.adapters._torch.bottleneck import Beside
        from netgain.adapters._torch.hooked import HookedAdapter, residual_ends, widths

        sites = residual_ends(lm, self.targets)
        outs = {name: widths(layer)[1] for name, layer in sites.items()}
        width = self.width
        if self.budget is not None:
            width = solve(self.budget, lm, sum(2 * out + 1 for out in outs.values()), sum(outs.values()))
        modules: dict[str, nn.Module] = {name: Beside(out, width, generator) for name, out in outs.items()}
        adapter = HookedAdapter(lm, modules, {"kind": self.kind, "width": width, "layers": sorted(sites)})
        for name, layer in sites.items():
            adapter.behind(layer, modules[name])
        return adapter
