"""What a method puts into a language model: the tensors that learn, and how to take them out again.

A method (`Lora`, `Full`, `Untouched`) is a line of a study file; attaching it to an LM gives an `Adapter`, which the
training loop, the evaluation and the export use without knowing which method it came from.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from netgain.errors import UserError
from netgain.spec.plugin import MethodPlugin
from netgain.spec.run import RunRef

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from netgain.adapters._torch.dropout import Noise
    from netgain.models.lm import LM

DROPOUT_STREAM = "dropout"


class Method(MethodPlugin, ABC):
    """Which parameters learn, as a study file says it."""

    @abstractmethod
    def attach(self, lm: "LM", generator: "torch.Generator") -> "Adapter":
        """Put the method into `lm`; all that is random about it comes from `generator` (the stream "init")."""


@dataclass(frozen=True)
class Shop:
    """What an adapter is built with.

    folder_of   the folder of a finished run
    lm          the base that the adapter is for
    trial       a finished run of that base; inside, a function from tensors named as in its adapter's file to the loss
                on that run's own dev rows
    """

    folder_of: Callable[[RunRef], Path]
    lm: "LM"
    seed: int
    trial: "Callable[[RunRef], AbstractContextManager[Callable[[Mapping[str, Tensor]], float]]]"


class Built(Method, ABC):
    """A method that makes its adapter from the adapters of finished runs, without a step of training.

    scale   how much of what was made is put in: a number, or "dev", the best of a few on the run's own dev rows
    """

    learns: ClassVar[bool] = False
    built: ClassVar[bool] = True
    scale: float | Literal["dev"] = 1.0

    @abstractmethod
    def build(self, out: Path, shop: Shop) -> dict[str, Any]:
        """Write the adapter at full scale in PEFT's format; what the record says about it."""

    def attach(self, lm: "LM", generator: "torch.Generator") -> "Adapter":
        raise UserError(f"method {self.kind}: is built from finished runs, so there is nothing to begin training with.")


class Resting(Method, ABC):
    """A method that learns on top of what finished runs learned."""

    @abstractmethod
    def attach_to(self, lm: "LM", generator: "torch.Generator", folder_of: Callable[[RunRef], Path]) -> "Adapter":
        """As `attach`; `folder_of` gives the folder of a finished run."""

    def attach(self, lm: "LM", generator: "torch.Generator") -> "Adapter":
        raise UserError(f"method {self.kind}: rests on other runs, so it lives in the ledger that they are in.")


class Adapter(ABC):
    """An attached method. Names of tensors are those of the file that `save` writes."""

    def __init__(self, lm: "LM") -> None:
        self.lm = lm
        self._initial: str | None = None

    @abstractmethod
    def parameters(self) -> "dict[str, nn.Parameter]":
        """Every tensor that learns, by name."""

    def leaves(self) -> "dict[str, nn.Parameter]":
        """What the optimiser updates and clipping measures: the parameters, or tensors that hold several of them."""
        return self.parameters()

    def parts(self, name: str, tensor: "Tensor") -> "dict[str, Tensor]":
        """A tensor like a leaf, such as an optimiser's moment, as views like the parameters that the leaf holds."""
        return {name: tensor}

    @abstractmethod
    def off(self) -> AbstractContextManager[None]:
        """Inside, `lm` computes the base's logits bit for bit."""

    @abstractmethod
    def learning(self) -> AbstractContextManager[None]:
        """Inside, the adapter is in training mode (its dropout is awake); the base never is."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the method's own file format."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""

    @abstractmethod
    def merged(self) -> "PreTrainedModel":
        """A copy of the network with the adapter folded into its weights."""

    @abstractmethod
    def remove(self) -> None:
        """Take the method out: `lm` is the base again, for the next run."""

    @property
    def noise(self) -> "Noise | None":
        """Where the dropout of this adapter takes its masks from; None when it has no dropout."""
        return None

    @property
    def count(self) -> int:
        """How many numbers learn."""
        return sum(tensor.numel() for tensor in self.parameters().values())

    def fingerprint(self) -> str:
        """sha256 over (name, dtype, shape, bytes) of the initial tensors, taken before anything learned."""
        if self._initial is None:
            self._initial = fingerprint(self.parameters())
        return self._initial

    def state(self) -> "dict[str, Tensor]":
        """The learned tensors, detached but not copied."""
        return {name: tensor.detach() for name, tensor in self.parameters().items()}

    def set_state(self, tensors: "Mapping[str, Tensor]") -> None:
        """Copy `tensors`, named as in `state`, into the adapter."""
        import torch

        own = self.parameters()
        if tensors.keys() != own.keys():
            raise KeyError(f"tensors differ: {sorted(tensors.keys() ^ own.keys())[:4]}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])


def swap(parameters: "Mapping[str, Tensor]", tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Put `tensors` under the parameters without copying; returns what was there."""
    before = {name: tensor.data for name, tensor in parameters.items()}
    for name, tensor in parameters.items():
        tensor.data = tensors[name]
    return before


def fingerprint(tensors: "Mapping[str, Tensor]") -> str:
    """sha256 over name, dtype, shape and bytes of each tensor, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous().cpu()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def seeded(generator: "torch.Generator") -> Iterator[None]:
    """Inside, torch's global CPU stream is `generator`'s; outside, it is as if nothing had been drawn."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
