"""The modules that a router weighs, and the router itself."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from netgain.adapters._torch.context import Context
from netgain.adapters._torch.hooked import HookedAdapter, named_linear, normal
from netgain.adapters._torch.modules import Part
from netgain.adapters._torch.peft import PREFIX
from netgain.models.lm import LM

if TYPE_CHECKING:
    from netgain.adapters.routed import Routed


class Router(nn.Module):
    """c (B, features) -> w (B, M), rows that sum to 1."""

    def __init__(self, features: int, width: int, modules: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = normal((width, features), features**-0.5, generator)
        self.first_bias = nn.Parameter(torch.zeros(width))
        self.second = nn.Parameter(torch.zeros(modules, width))
        self.second_bias = nn.Parameter(torch.zeros(modules))
        self.weights = torch.zeros(0, modules)

    def forward(self, context: Tensor) -> Tensor:
        inner = nn.functional.gelu(nn.functional.linear(context, self.first, self.first_bias))
        return nn.functional.linear(inner, self.second, self.second_bias).softmax(-1)

    def weigh(self, context: Tensor) -> None:
        """The weights of the rows that are about to be read, once for all layers."""
        self.weights = self(context)


class Weighed:
    """sum_j w_j B_j A_j x at one layer, as one product of all ranks: frozen."""

    def __init__(self, halves: list[tuple[Tensor, Tensor]], device: torch.device) -> None:
        self.a = torch.cat([a for a, _ in halves]).to(device)  # (R, in)
        self.b = torch.cat([b for _, b in halves], 1).to(device)  # (out, R)
        self.of = torch.arange(len(halves), device=device).repeat_interleave(
            torch.tensor([len(a) for a, _ in halves], device=device)
        )

    def __call__(self, x: Tensor, weights: Tensor) -> Tensor:
        """x (B, T, in), weights (B, M) -> (B, T, out)."""
        inner = nn.functional.linear(x.to(self.a.dtype), self.a) * weights[:, self.of][:, None]
        return nn.functional.linear(inner, self.b).to(x.dtype)


def attach(method: "Routed", lm: LM, generator: torch.Generator, parts: list[Part]) -> HookedAdapter:
    """The router, read once before each pass; the modules in their layers."""
    context = Context(lm, method.features)
    router = Router(method.features, method.width, len(parts), generator)
    sigs = [ref.sig for ref in method.modules]
    adapter = HookedAdapter(lm, {"router": router}, {"kind": method.kind, "modules": sigs})
    adapter.keep(lm.body.register_forward_pre_hook(context.read, with_kwargs=True))
    adapter.keep(lm.body.register_forward_pre_hook(lambda *_: router.weigh(context.rows)))
    names = [site.removeprefix(PREFIX) for site in parts[0].products]
    for name, layer in named_linear(lm, names).items():
        site = Weighed([part.products[f"{PREFIX}{name}"] for part in parts], lm.device)

        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, site: Weighed = site) -> Tensor:
            return output + site(inputs[0], router.weights) if adapter.active else output

        adapter.keep(layer.register_forward_hook(add))
    return adapter
