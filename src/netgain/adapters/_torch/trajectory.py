"""Both forms of the trajectory adapter, and the clock that tells them where each row stands."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netgain.adapters._torch.context import Context
from netgain.adapters._torch.hooked import HookedAdapter, named_linear, normal, widths
from netgain.models.lm import LM

if TYPE_CHECKING:
    from netgain.adapters.trajectory import Trajectory

PHASES = 3


class Clock:
    """The phase of each row, 0 early to 2 late, read from what goes into the body: no caller has to say it, and
    training, likelihood and sampling mean the same by it."""

    def __init__(self, lm: LM) -> None:
        self.mask_id, self.length = lm.mask_id, lm.denoise.length
        self.phase = torch.zeros(0, dtype=torch.long)

    def read(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before every forward pass: t = hidden tokens / length of an answer."""
        hidden = (kwargs["input_ids"] == self.mask_id).sum(1)
        self.phase = (PHASES * (self.length - hidden)).div(self.length, rounding_mode="floor").clamp(0, PHASES - 1)


class Gated(nn.Module):
    """sigma(t) alpha B[:, :r(t)] ((1 + G c) * A[:r(t)] x), of which rows beyond r(t) are struck out."""

    def __init__(
        self,
        shape: tuple[int, int],
        ranks: tuple[int, ...],
        scales: Tensor,
        clock: Clock,
        context: Context | None,
        g: torch.Generator,
    ) -> None:
        super().__init__()
        self.clock, self.context = clock, context
        self.a = normal((max(ranks), shape[0]), shape[0] ** -0.5, g)
        self.b = nn.Parameter(torch.zeros(shape[1], max(ranks)))
        gates = torch.stack([(torch.arange(max(ranks)) < r).float() * s for r, s in zip(ranks, scales, strict=True)])
        self.register_buffer("gates", gates, persistent=False)  # (phases, R)
        self.gamma = None if context is None else nn.Parameter(torch.zeros(max(ranks), len(context.mix)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in) -> (B, T, out)."""
        inner = nn.functional.linear(x.to(self.a.dtype), self.a) * self.gates[self.clock.phase][:, None]  # type: ignore[index]
        if self.gamma is not None and self.context is not None:
            inner = inner * (1 + self.context.rows @ self.gamma.T)[:, None]
        return nn.functional.linear(inner, self.b).to(x.dtype)


class Steps(nn.Module):
    """sigma(t) sum_k (U_k ((1 + G_k c) * relu(D_k h + d_k)) + B_k c) with modules of its own for each phase."""

    def __init__(
        self,
        hidden: int,
        ranks: tuple[int, ...],
        scales: Tensor,
        modules: int,
        clock: Clock,
        context: Context | None,
        g: torch.Generator,
    ) -> None:
        super().__init__()
        self.clock, self.context = clock, context
        own = [rank for rank in ranks for _ in range(modules)]
        self.down = nn.ParameterList([normal((rank, hidden), hidden**-0.5, g) for rank in own])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(rank)) for rank in own])
        self.up = nn.ParameterList([nn.Parameter(torch.zeros(hidden, rank)) for rank in own])
        width = 0 if context is None else len(context.mix)
        given = own if context is not None else []
        self.gamma = nn.ParameterList([nn.Parameter(torch.zeros(rank, width)) for rank in given])
        self.beta = nn.ParameterList([nn.Parameter(torch.zeros(hidden, width)) for _ in given])
        self.register_buffer("scales", scales.repeat_interleave(modules), persistent=False)
        self.register_buffer("phases", torch.arange(len(ranks)).repeat_interleave(modules), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """(B, T, H) -> (B, T, H): every module is computed, those of other phases count 0."""
        wide, total = h.to(self.up[0].dtype), torch.zeros_like(h, dtype=self.up[0].dtype)
        for k, (down, bias, up) in enumerate(zip(self.down, self.bias, self.up, strict=True)):
            on = (self.clock.phase == self.phases[k]).to(wide.dtype) * self.scales[k]  # type: ignore[index]
            inner = nn.functional.linear(wide, down, bias).relu()
            if self.context is not None:
                inner = inner * (1 + self.context.rows @ self.gamma[k].T)[:, None]
                total = total + (on[:, None] * (self.context.rows @ self.beta[k].T))[:, None]
            total = total + nn.functional.linear(inner * on[:, None, None], up)
        return total.to(h.dtype)


def on_weights(method: "Trajectory", lm: LM, generator: torch.Generator) -> HookedAdapter:
    """True LoRA on linear layers, gated by t."""
    sites, clock, context = named_linear(lm, method.targets), Clock(lm), _context(method, lm)
    shapes = {name: widths(layer) for name, layer in sites.items()}
    ranks = method.sized(lm, sum(sum(shape) + method.conditioning for shape in shapes.values()), nested=True)
    scales = torch.tensor([s * method.alpha for s in method.scales])
    modules: dict[str, nn.Module] = {
        name: Gated(shape, ranks, scales, clock, context, generator) for name, shape in shapes.items()
    }
    adapter = _adapter(method, lm, modules, ranks, clock, context)
    for name, layer in sites.items():
        adapter.beside(layer, modules[name])
    return adapter


def on_hidden(method: "Trajectory", lm: LM, generator: torch.Generator) -> HookedAdapter:
    """The published form: a change of the last hidden state alone."""
    from netgain.adapters.trajectory import MODULES

    hidden, clock, context = int(lm.net.config.get_text_config().hidden_size), Clock(lm), _context(method, lm)
    width = method.conditioning
    ranks = method.sized(lm, MODULES * (2 * hidden + 1 + width), nested=False, fixed=PHASES * MODULES * hidden * width)
    scales = torch.tensor([s * method.alpha for s in method.scales])
    module = Steps(hidden, ranks, scales, MODULES, clock, context, generator)
    adapter = _adapter(method, lm, {"body": module}, ranks, clock, context)

    def add(_: nn.Module, inputs: object, output: Any) -> Any:
        if adapter.active:
            output.last_hidden_state = output.last_hidden_state + module(output.last_hidden_state)
        return output

    adapter.keep(lm.body.register_forward_hook(add))
    return adapter


def _context(method: "Trajectory", lm: LM) -> Context | None:
    return Context(lm, method.conditioning) if method.conditioning else None


def _adapter(
    method: "Trajectory",
    lm: LM,
    modules: dict[str, nn.Module],
    ranks: tuple[int, ...],
    clock: Clock,
    context: Context | None,
) -> HookedAdapter:
    described = {"kind": method.kind, "form": method.form, "ranks": ranks, "scales": method.scales}
    adapter = HookedAdapter(lm, modules, {**described, "alpha": method.alpha, "conditioning": method.conditioning})
    adapter.keep(lm.body.register_forward_pre_hook(clock.read, with_kwargs=True))
    if context is not None:
        adapter.keep(lm.body.register_forward_pre_hook(context.read, with_kwargs=True))
    return adapter
