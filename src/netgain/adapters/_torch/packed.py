"""K LoRA adapters over one frozen base, in one forward pass: K*B rows, the rows of arm k beside one another.

All that an arm learns is one row of a (K, P) tensor, and its gradient one row of another: the optimiser, the norm and
the clipping see one vector an arm, and the batched products of a layer read a slice of all rows. Each arm is still an
adapter of its own, with its own names, gradients and file.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from netgain.adapters._torch.dropout import KeyedDropout, Noise
from netgain.adapters._torch.peft import NAME, PREFIX, WEIGHTS, PeftAdapter, write
from netgain.adapters.lora import Lora
from netgain.adapters.method import Adapter
from netgain.data.view import View
from netgain.errors import UserError
from netgain.models.lm import LM
from netgain.spec.identity import torch_stream


class Unpackable(UserError):
    """A layer of this network does not see its rows apart, so arms cannot share a forward pass."""


class Routing:
    """Whose rows the next forward pass holds: equal blocks, one for each arm, unless it is told otherwise.

    `owners` (rows,): the arm of each row; `sole`: the arm of every row.
    """

    def __init__(self, arms: int) -> None:
        self.arms = arms
        self.off = False
        self.awake = False
        self.rows = 0
        self.owners: Tensor | None = None
        self.sole: int | None = None
        self._masks: dict[int, Tensor] = {}

    def blocks(self, rows: int) -> None:
        """Rows lie arm by arm, as many of each."""
        self.rows, self.owners = rows, None

    def assign(self, owners: Tensor) -> None:
        """Row i belongs to arm owners[i]."""
        total = len(owners)
        even = torch.arange(self.arms, device=owners.device).repeat_interleave(total // self.arms)
        self.rows = total
        self.owners = None if even.equal(owners) else owners
        self._masks = {}

    def mask(self, rank: int, like: Tensor) -> Tensor:
        """(rows, 1, K*r): 1 where a stacked feature is of the row's own arm."""
        assert self.owners is not None
        if rank not in self._masks:
            arms = torch.arange(self.arms, device=like.device).repeat_interleave(rank)
            self._masks[rank] = (self.owners[:, None] == arms).to(like.dtype)[:, None]
        return self._masks[rank]


class _LowRank(torch.autograd.Function):
    """W x + s B_k A_k (m * x) for the rows of each arm k; m is the dropout's mask, shared by all arms.

    The base's product is inside, so that both results are summed in place, forward and backward. Without `weight` it
    is the second summand alone. x (K*B, T, in), a (K, r, in) = A, b (K, r, out) = B^T; computed in the dtype of x.
    What has rank r is kept as (K, r, B*T): products with r rows are up to four times faster than with r columns.
    The backward pass sums the gradients of A and B where they are kept; `anchor` only says that there are any.
    """

    @staticmethod
    def forward(ctx, x: Tensor, mask: Tensor | None, layer: "PackedLinear", anchor: Tensor) -> Tensor:  # type: ignore[override]
        weight, bias = layer.frozen
        a, b = layer.a.to(x.dtype), layer.b.to(x.dtype)
        own = x if mask is None else x.reshape(len(a), -1, *x.shape[1:]) * mask
        wide = own.reshape(len(a), -1, x.shape[-1])
        inner = torch.bmm(a, wide.transpose(1, 2))
        if weight is None:
            out = torch.bmm(inner.transpose(1, 2), b).mul_(layer.scale)
        else:
            out = F.linear(x, weight, bias).view(len(a), -1, len(weight))
            out.baddbmm_(inner.transpose(1, 2), b, alpha=layer.scale)
        ctx.save_for_backward(wide, mask, inner)
        ctx.layer, ctx.shape = layer, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        own, mask, inner = ctx.saved_tensors
        layer: PackedLinear = ctx.layer
        weight, _ = layer.frozen
        a, b = layer.a.to(grad.dtype), layer.b.to(grad.dtype)
        wide = grad.reshape(len(a), -1, grad.shape[-1])
        d_inner = torch.bmm(b, wide.transpose(1, 2)).mul_(layer.scale)
        _add_product(layer.grad_a, d_inner, own, 1.0)
        _add_product(layer.grad_b, inner, wide, layer.scale)
        dx: Tensor | None = None
        if ctx.needs_input_grad[0]:
            through = None if weight is None else torch.matmul(grad, weight).view(len(a), -1, ctx.shape[-1])
            if through is not None and mask is None:
                dx = through.baddbmm_(d_inner.transpose(1, 2), a)
            else:
                dx = torch.bmm(d_inner.transpose(1, 2), a)
                dx = dx if mask is None else (dx.view(len(a), *mask.shape) * mask).view(dx.shape)
                dx = dx if through is None else dx + through
            dx = dx.view(ctx.shape)
        return dx, None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """total += scale * left @ right, in the dtype of `total`."""
    if left.dtype == total.dtype:
        total.baddbmm_(left, right, alpha=scale)
    else:
        total.add_(torch.bmm(left, right), alpha=scale)


class PackedLinear(nn.Module):
    """A frozen linear layer with the low-rank parts of K arms: A (K, r, in) and B^T (K, r, out), with the gradients
    that they are summed into. Stands where the base's own layer stood."""

    def __init__(
        self,
        base: nn.Module,
        values: tuple[Tensor, Tensor],
        grads: tuple[Tensor, Tensor],
        scale: float,
        dropout: KeyedDropout | None,
        routing: Routing,
    ) -> None:
        super().__init__()
        self.base = base
        self.scale = scale
        self.routing = routing
        self.dropout = dropout
        (self.a, self.b), (self.grad_a, self.grad_b) = values, grads
        self.anchor = torch.empty(0, device=self.a.device, requires_grad=True)

    @property
    def learned(self) -> tuple[Tensor, ...]:
        """A and B^T of the arms that it serves, and the gradients of both."""
        return self.a, self.b, self.grad_a, self.grad_b

    @learned.setter
    def learned(self, tensors: tuple[Tensor, ...]) -> None:
        self.a, self.b, self.grad_a, self.grad_b = tensors

    @property
    def weight(self) -> Tensor:
        """The base's; some networks look at a layer's weight to learn its dtype."""
        return self.base.weight  # type: ignore[return-value]

    @property
    def frozen(self) -> tuple[Tensor | None, Tensor | None]:
        """(weight (out, in), bias) of a plain base; (None, None) of one that only it can apply, such as 4 bits."""
        if type(self.base) is nn.Linear:
            return self.base.weight.detach(), self.base.bias
        if isinstance(self.base, Conv1D):
            return self.base.weight.detach().t(), self.base.bias
        return None, None

    def forward(self, x: Tensor) -> Tensor:
        if self.routing.off:
            return self.base(x)
        if (arm := self.routing.sole) is not None:
            return self._added(x, F.linear(x, self.a[arm].to(x.dtype)), self.b[arm])
        if len(x) != self.routing.rows or x.dim() != 3:
            raise Unpackable(
                f"arms cannot be packed: a layer sees {tuple(x.shape)} where {self.routing.rows} rows went in; "
                "run with --pack off."
            )
        if self.routing.owners is not None:
            return self._mixed(x)
        shared: Tensor | None = None
        if self.dropout is not None and self.routing.awake:
            shared = self.dropout.mask(torch.Size((len(x) // len(self.a), *x.shape[1:])), x)
        out: Tensor = _LowRank.apply(x, shared, self, self.anchor)  # type: ignore[assignment]
        return out if self.frozen[0] is not None else self.base(x) + out

    def _mixed(self, x: Tensor) -> Tensor:
        """Rows of any arm in any order, for measuring: all arms' A x at once, those of other arms struck out."""
        inner = F.linear(x, self.a.flatten(0, 1).to(x.dtype)) * self.routing.mask(self.a.shape[1], x)
        return self._added(x, inner, self.b.flatten(0, 1))

    def _added(self, x: Tensor, inner: Tensor, b: Tensor) -> Tensor:
        """W x + s B inner in the dtype of x, as in training."""
        out = self.base(x)
        out.view(-1, out.shape[-1]).addmm_(inner.flatten(0, -2), b.to(x.dtype), alpha=self.scale)
        return out


class ArmAdapter(Adapter):
    """One arm of a pack: a LoRA adapter whose tensors are slices of the pack's, in PEFT's own names and file."""

    def __init__(self, student: "PackedStudent", number: int) -> None:
        super().__init__(student.lm)
        self.student, self.number = student, number
        values, grads = student.values[number], student.grads[number]
        slopes = student.named(grads)
        self._parameters = {name: _leaf(value, slopes[name]) for name, value in student.named(values).items()}
        self._whole = _leaf(values, grads)
        self.fingerprint()

    def parameters(self) -> dict[str, nn.Parameter]:
        return self._parameters

    def leaves(self) -> dict[str, nn.Parameter]:
        return {"": self._whole}

    def parts(self, name: str, tensor: Tensor) -> dict[str, Tensor]:
        return self.student.named(tensor)

    @property
    def noise(self) -> Noise | None:
        return self.student.noise

    def off(self) -> AbstractContextManager[None]:
        return self.student.off()

    def learning(self) -> AbstractContextManager[None]:
        return self.student.learning()

    def save(self, folder: Path) -> None:
        write(self.state(), self.student.config, folder)

    def load(self, folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        if {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in self._parameters.items()}:
            raise UserError(f"{folder / WEIGHTS}: holds other tensors than this method puts into {self.lm.name}.")
        self.set_state(tensors)

    def merged(self) -> PreTrainedModel:
        net = copy.deepcopy(self.lm.net)
        for name, layer in [(n, m) for n, m in net.named_modules() if isinstance(m, PackedLinear)]:
            delta = layer.scale * (layer.b[self.number].t() @ layer.a[self.number])
            weight = layer.weight
            turned = delta.t() if isinstance(layer.base, Conv1D) else delta
            weight.data = (weight.to(delta.dtype) + turned).to(weight.dtype)
            _replace(net, name, layer.base)
        return net

    def remove(self) -> None:
        self.student.remove()


class PackedStudent:
    """The student of K arms that share everything but their adapters' values; see netgain.training.arms.Student."""

    def __init__(self, method: Lora, lm: LM, seeds: Sequence[int]) -> None:
        self.lm = lm
        self.routing = Routing(len(seeds))
        starts: dict[int, dict[str, Tensor]] = {}
        shapes: list[tuple[str, nn.Module, float, KeyedDropout | None]] = []
        config: PeftConfig | None = None
        for seed in dict.fromkeys(seeds):
            alone = method.attach(lm, torch_stream(seed, "init"))
            assert isinstance(alone, PeftAdapter)
            starts[seed], config, self._noise = alone.state(), alone.config, alone.noise
            shapes = [_shape(name, layer) for name, layer in alone.layers.items() if isinstance(layer, LoraLayer)]
            alone.remove()
        assert isinstance(config, LoraConfig)
        self.config = config
        first = starts[seeds[0]]
        self._slots = _slots({name: first[name].shape for name in first})
        like, size = next(iter(first.values())), sum(t.numel() for t in first.values())
        self.values, self.grads = (like.new_zeros(len(seeds), size) for _ in range(2))
        values, grads = self.named(self.values), self.named(self.grads)
        for k, seed in enumerate(seeds):
            for name, start in starts[seed].items():
                values[name][k] = start
        self._layers: dict[str, PackedLinear] = {}
        for name, base, scale, dropout in shapes:
            a, b = (f"{PREFIX}{name}.lora_{half}.weight" for half in "AB")
            pair = ((of[a], of[b].transpose(1, 2)) for of in (values, grads))
            self._layers[name] = PackedLinear(base, next(pair), next(pair), scale, dropout, self.routing)
            _replace(lm.net, name, self._layers[name])
        self.adapters = [ArmAdapter(self, k) for k in range(len(seeds))]

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of (..., P) numbers, such as the values of an arm, as its tensors under their names in a file."""
        found: dict[str, Tensor] = {}
        for name, (start, shape, turned) in self._slots.items():
            rows, columns = shape[::-1] if turned else shape
            part = flat[..., start : start + rows * columns].unflatten(-1, (rows, columns))
            found[name] = part.transpose(-1, -2) if turned else part
        return found

    def states(self, view: View) -> Tensor:
        """(K, n, H): every arm reads the same rows."""
        arms = self.routing.arms
        rows, length = view.input_ids.shape
        self.routing.blocks(arms * rows)
        hidden = self.lm.hidden(view.input_ids.repeat(arms, 1), view.attention_mask.repeat(arms, 1))
        return hidden.view(arms, rows, length, -1)[:, view.scored]

    @contextmanager
    def as_one(self) -> Iterator[bool]:
        """The layers see the first arm's numbers and gradients alone, where all arms are equal: before the first step,
        when they differ in nothing but their losses."""
        if len(self.values) == 1 or not (self.values == self.values[0]).all():
            yield False
            return
        arms, layers = self.routing.arms, list(self._layers.values())
        whole = [layer.learned for layer in layers]
        self.routing.arms = 1
        for layer, tensors in zip(layers, whole, strict=True):
            layer.learned = tuple(tensor[:1] for tensor in tensors)
        try:
            yield True
        finally:
            self.routing.arms = arms
            for layer, tensors in zip(layers, whole, strict=True):
                layer.learned = tensors

    @contextmanager
    def learning(self) -> Iterator[None]:
        self.routing.awake = True
        try:
            yield
        finally:
            self.routing.awake = False

    @contextmanager
    def off(self) -> Iterator[None]:
        self.routing.off = True
        try:
            yield
        finally:
            self.routing.off = False

    @property
    def noise(self) -> Noise | None:
        return self._noise

    def zero_grad(self) -> None:
        self.grads.zero_()
        for adapter, grad in zip(self.adapters, self.grads, strict=True):
            for whole in adapter.leaves().values():
                whole.grad = grad

    def assign(self, owners: Tensor) -> None:
        """Row i of the next forward passes through `lm` belongs to arm owners[i]."""
        self.routing.assign(owners)

    @contextmanager
    def only(self, arm: int) -> Iterator[None]:
        """Inside, every row through `lm` is of that arm."""
        self.routing.sole = arm
        try:
            yield
        finally:
            self.routing.sole = None

    def silence(self, arm: int) -> None:
        """Make an arm the base: what broke it must not reach rows that share a product with it."""
        self.values[arm].zero_()

    def remove(self) -> None:
        """`lm` is the base again."""
        for name, layer in self._layers.items():
            _replace(self.lm.net, name, layer.base)


def _leaf(value: Tensor, grad: Tensor) -> nn.Parameter:
    """A parameter over existing numbers, whose gradient is summed into existing numbers."""
    leaf = nn.Parameter(value)
    leaf.grad = grad
    return leaf


def _slots(shapes: Mapping[str, torch.Size]) -> dict[str, tuple[int, torch.Size, bool]]:
    """Where each tensor lies in the row of an arm, and whether it lies there as its transpose: B does."""
    found: dict[str, tuple[int, torch.Size, bool]] = {}
    start = 0
    for name, shape in shapes.items():
        found[name] = (start, shape, ".lora_B." in name)
        start += shape.numel()
    return found


def _shape(name: str, layer: LoraLayer) -> tuple[str, nn.Module, float, KeyedDropout | None]:
    dropout = layer.lora_dropout[NAME]
    return name, layer.get_base_layer(), layer.scaling[NAME], dropout if isinstance(dropout, KeyedDropout) else None


def _replace(net: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(net.get_submodule(parent), own, layer)
