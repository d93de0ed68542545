"""Methods of netgain's own: modules beside the network that change what some of its layers put out.

The network is left as it is. Each adapted layer has a forward hook; switched off, a hook returns what it was given.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from netgain.adapters._torch.peft import WEIGHTS, linear_targets
from netgain.adapters.method import Adapter
from netgain.errors import UserError
from netgain.models.lm import LM

CONFIG = "adapter_config.json"
ENDS = (
    ("attention.output.dense", "output.dense"),  # BERT, RoBERTa
    ("attn.Wo", "mlp.Wo"),  # ModernBERT
    ("attention.out_lin", "ffn.lin2"),  # DistilBERT
    ("self_attn.o_proj", "mlp.down_proj"),  # Llama and its kin
    ("attn.c_proj", "mlp.c_proj"),  # GPT-2
)
"""The linear layers that write into the residual stream, by family."""


class Removable(Protocol):
    """Something put into a network, such as a hook."""

    def remove(self) -> None:
        """Take it out."""
        ...


class HookedAdapter(Adapter):
    """Modules by the name of the layer that each belongs to; `described` is all that a reader of the file must know."""

    def __init__(self, lm: LM, modules: dict[str, nn.Module], described: dict[str, Any]) -> None:
        super().__init__(lm)
        self.modules, self.described = modules, described
        self.active = True
        self._parameters = {
            f"{name}.{own}": tensor
            for name, module in modules.items()
            for own, tensor in module.to(lm.device).named_parameters()  # type: ignore[arg-type]
        }
        for tensor in self._parameters.values():
            tensor.requires_grad_()
        self._handles: list[Removable] = []
        self.fingerprint()

    def keep(self, handle: Removable) -> None:
        """A hook, or the like, that is taken out with the adapter."""
        self._handles.append(handle)

    def behind(self, layer: nn.Module, module: nn.Module) -> None:
        """Add module(output) to what the layer puts out."""

        def add(_: nn.Module, inputs: object, output: Tensor) -> Tensor:
            return output + module(output) if self.active else output

        self.keep(layer.register_forward_hook(add))

    def beside(self, layer: nn.Module, module: nn.Module) -> None:
        """Add module(input) to what the layer puts out."""

        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + module(inputs[0]) if self.active else output

        self.keep(layer.register_forward_hook(add))

    def parameters(self) -> dict[str, nn.Parameter]:
        return self._parameters

    @contextmanager
    def off(self) -> Iterator[None]:
        self.active = False
        try:
            yield
        finally:
            self.active = True

    @contextmanager
    def learning(self) -> Iterator[None]:
        yield

    def save(self, folder: Path) -> None:
        write(self.state(), self.described, folder)

    def load(self, folder: Path) -> None:
        self.set_state(read(self.parameters(), self.described, folder, self.lm.name))

    def merged(self) -> PreTrainedModel:
        raise UserError(
            f"method {self.described['kind']}: what it adds is no change of the network's weights, so it cannot be "
            "merged into them; export the adapter."
        )

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def write(tensors: dict[str, Tensor], described: dict[str, Any], folder: Path) -> None:
    """The tensors, and a file that says what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps({"made_by": "netgain", **described}, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def read(own: dict[str, nn.Parameter], described: dict[str, Any], folder: Path, name: str) -> dict[str, Tensor]:
    """What `write` wrote, if it is of the same method at the same size."""
    stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    tensors = load_file(folder / WEIGHTS)
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    if stored.get("kind") != described["kind"] or shapes != {key: tensor.shape for key, tensor in own.items()}:
        raise UserError(f"{folder / WEIGHTS}: holds other tensors than this method puts into {name}.")
    return tensors


def named_linear(lm: LM, targets: Sequence[str] | None) -> dict[str, nn.Module]:
    """The linear layers that the targets name; without any, every one inside the repeated layers of the body."""
    names = {module: name for name, module in lm.net.named_modules()}
    if targets is not None:
        return {names[module]: module for module in linear_targets(lm, targets)}
    layers = [m for m in lm.body.modules() if isinstance(m, nn.ModuleList) and len(m) == _depth(lm)]
    if not layers:
        raise UserError(f"{lm.name}: netgain finds no stack of layers in this network; name some with method.targets.")
    inner = [m for m in layers[0].modules() if isinstance(m, (nn.Linear, Conv1D))]
    return {names[module]: module for module in inner}


def residual_ends(lm: LM, targets: Sequence[str] | None) -> dict[str, nn.Module]:
    """The layers after which a bottleneck stands: where attention and feed-forward write into the residual stream."""
    if targets is not None:
        return named_linear(lm, targets)
    known = named_linear(lm, None)
    for family in ENDS:
        found = {name: module for name, module in known.items() if name.endswith(tuple(f".{end}" for end in family))}
        if found:
            return found
    raise UserError(f"{lm.name}: netgain does not know the layers of this family; name them with method.targets.")


def _depth(lm: LM) -> int:
    return int(lm.net.config.get_text_config().num_hidden_layers)


def widths(layer: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer."""
    rows, columns = layer.get_parameter("weight").shape
    return (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)


def normal(shape: tuple[int, ...], std: float, generator: torch.Generator) -> nn.Parameter:
    """Independent normal numbers."""
    return nn.Parameter(torch.randn(shape, generator=generator) * std)
