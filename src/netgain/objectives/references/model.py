"""Another model with the same tokenizer: a larger one, or one that was tuned elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netgain.errors import UserError
from netgain.objectives.references._base import Host, Reference
from netgain.objectives.references._stamp import files_of
from netgain.spec.run import ModelSpec

if TYPE_CHECKING:
    from netgain.models.lm import LM


class Model(Reference):
    """p_ref = p_model on the same tokens; a bare string is the model's id. The vocabulary must be the run's own."""

    kind: Literal["model"] = "model"
    model: ModelSpec

    @property
    def own(self) -> bool:
        return False

    def stamp(self, ledger: Path, folder: Path | None) -> Any:
        return files_of(self.model.id)

    @contextmanager
    def lm(self, host: Host) -> "Iterator[LM]":
        from netgain.models.load import load

        other = load(self.model, host.lm.device)
        require_same_tokens(host.lm, other)
        yield other


def require_same_tokens(own: "LM", other: "LM") -> None:
    """Refuse a model whose token ids mean something else: its probabilities would be compared id by id."""
    ours, theirs = own.tok.get_vocab(), other.tok.get_vocab()
    if ours != theirs:
        word, i = next(iter(ours.items() - theirs.items() or theirs.items() - ours.items()))
        raise UserError(
            f"{other.name} cannot teach {own.name}: their tokenizers differ (id {i} is {word!r} in one only); choose a "
            "reference model of the same family."
        )
    if other.vocab != own.vocab:
        raise UserError(
            f"{other.name} cannot teach {own.name}: they predict {other.vocab:,} and {own.vocab:,} tokens; choose a "
            "reference model of the same family."
        )
