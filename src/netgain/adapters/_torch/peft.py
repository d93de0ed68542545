"""Methods that HF PEFT implements, behind the one Adapter interface and in PEFT's own file format."""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from netgain.adapters._torch.dropout import KeyedDropout, Noise
from netgain.adapters.method import Adapter, seeded
from netgain.errors import UserError, did_you_mean
from netgain.models.lm import LM

WEIGHTS = "adapter_model.safetensors"
NAME = "default"
PREFIX = "base_model.model."


class PeftAdapter(Adapter):
    """A PEFT method injected into `lm.net`, whose modules call it wherever they are called from."""

    def __init__(self, lm: LM, config: PeftConfig, generator: torch.Generator) -> None:
        super().__init__(lm)
        self.config = config
        config.task_type = "CAUSAL_LM" if lm.net.can_generate() else None
        with seeded(generator), warnings.catch_warnings():
            # PEFT asks transformers by a name that transformers has replaced.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            model = get_peft_model(lm.net, config)
        config.base_model_name_or_path = lm.name
        assert isinstance(model, PeftModel)
        self.model = model
        model.eval()
        self._layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        self._noise = self._key_dropout()
        self._parameters = {
            name.replace(f".{NAME}", ""): tensor for name, tensor in model.named_parameters() if tensor.requires_grad
        }
        self._learners = _learners(self._layers)
        self.fingerprint()

    def _key_dropout(self) -> Noise | None:
        noise = Noise()
        if not isinstance(self.config, LoraConfig):
            return None
        holders = [layer.lora_dropout for layer in self._layers if isinstance(layer.lora_dropout, nn.ModuleDict)]
        awake = [holder for holder in holders if isinstance(holder[NAME], nn.Dropout)]
        for number, holder in enumerate(awake):
            holder[NAME] = KeyedDropout(self.config.lora_dropout, noise, number).eval()
        return noise if awake else None

    @property
    def noise(self) -> Noise | None:
        return self._noise

    @property
    def layers(self) -> "dict[str, BaseTunerLayer]":
        """Every adapted layer by its name in `lm.net`, in the order of their dropout streams."""
        named = ((name, module) for name, module in self.model.named_modules() if isinstance(module, BaseTunerLayer))
        return {name.removeprefix(PREFIX): module for name, module in named}

    def parameters(self) -> dict[str, nn.Parameter]:
        return self._parameters

    @contextmanager
    def off(self) -> Iterator[None]:
        for layer in self._layers:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._layers:
                layer.enable_adapters(True)

    @contextmanager
    def learning(self) -> Iterator[None]:
        for module in self._learners:
            module.training = True
        try:
            yield
        finally:
            for module in self._learners:
                module.training = False

    def save(self, folder: Path) -> None:
        write(get_peft_model_state_dict(self.model, save_embedding_layers=False), self.config, folder)

    def load(self, folder: Path) -> None:
        expected = get_peft_model_state_dict(self.model, save_embedding_layers=False)
        tensors = load_file(folder / WEIGHTS)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if shapes != {name: tensor.shape for name, tensor in expected.items()}:
            raise UserError(f"{folder / WEIGHTS}: holds other tensors than this method puts into {self.lm.name}.")
        set_peft_model_state_dict(self.model, tensors)

    def merged(self) -> PreTrainedModel:
        net = copy.deepcopy(self.model).merge_and_unload()
        assert isinstance(net, PreTrainedModel)
        return net

    def remove(self) -> None:
        self.model.unload()


def from_folder(lm: LM, folder: Path) -> PeftAdapter:
    """The LoRA adapter that a folder holds, put into `lm`: the folder says its rank and its layers."""
    config = LoraConfig.from_pretrained(str(folder))
    assert isinstance(config, LoraConfig)
    config.inference_mode, config.base_model_name_or_path = False, None
    adapter = PeftAdapter(lm, config, torch.Generator())
    adapter.load(folder)
    return adapter


def write(tensors: Mapping[str, Tensor], config: PeftConfig, folder: Path) -> None:
    """An adapter's folder as PEFT writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
    stored = copy.copy(config)
    stored.inference_mode = True
    stored.save_pretrained(str(folder))


def _learners(layers: Sequence[BaseTunerLayer]) -> list[nn.Module]:
    """The modules whose training flag means something: a layer with dropout, and the dropout itself."""
    found: list[nn.Module] = []
    for layer in layers:
        assert isinstance(layer, nn.Module)
        own = [module for module in layer.modules() if isinstance(module, KeyedDropout)]
        if own:
            found += [layer, *own]
    return found


def linear_targets(lm: LM, patterns: Sequence[str]) -> list[nn.Module]:
    """The modules that the patterns name (a module's whole name, or the end of it); each pattern must name one."""
    linear = {name: m for name, m in lm.net.named_modules() if isinstance(m, (nn.Linear, Conv1D))}
    found: list[nn.Module] = []
    for pattern in patterns:
        hits = [module for name, module in linear.items() if name == pattern or name.endswith(f".{pattern}")]
        if not hits:
            known = sorted({name.rsplit(".", 1)[-1] for name in linear})
            raise UserError(
                f'method.targets: "{pattern}" is no linear layer of {lm.name}.{did_you_mean(pattern, known)} '
                f"It has {', '.join(known)}."
            )
        if lm.net.get_output_embeddings() in hits:
            raise UserError(f'method.targets: "{pattern}" is the head of {lm.name}; leave the head out of the targets.')
        found += hits
    return found


def all_linear(lm: LM) -> list[nn.Module]:
    """Every linear layer but the head, as PEFT's all-linear takes them."""
    head = lm.net.get_output_embeddings()
    return [module for module in lm.net.modules() if isinstance(module, (nn.Linear, Conv1D)) and module is not head]


def stores_transposed(lm: LM, patterns: Sequence[str] | None) -> bool:
    """Whether the targets keep their weight as (in, out), as GPT-2's Conv1D does."""
    modules = linear_targets(lm, patterns) if patterns is not None else list(lm.body.modules())
    return any(isinstance(module, Conv1D) for module in modules)
