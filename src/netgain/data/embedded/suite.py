"""What a suite is: a card, the conventions an answer may follow, and the rows before a convention is applied."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from netgain.data.embedded.draw import Draw

Kind = Literal["classify", "tag", "extract", "generate", "text"]
DIFFICULTIES = ("easy", "medium", "hard")


@dataclass(frozen=True, slots=True)
class Convention:
    """How a gold answer is written down: the same knowledge under other names.

    Which convention is in force is nowhere in the prompt: demonstrations show it, or training fixes it.
    """

    name: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    form: str = "{}"
    joint: str = "/"

    def word(self, gold: str) -> str:
        """The word that stands for a gold label or answer."""
        return self.form.format(self.labels.get(gold, gold))

    def tagged(self, words: tuple[str, ...], tags: tuple[str, ...]) -> str:
        """word/TAG word/TAG ..."""
        return " ".join(f"{word}{self.joint}{self.labels.get(tag, tag)}" for word, tag in zip(words, tags, strict=True))


def naming(name: str, labels: tuple[str, ...], words: str, joint: str = "/") -> Convention:
    """The convention that calls each of `labels` by the word in its place."""
    return Convention(name, dict(zip(labels, words.split(), strict=True)), joint=joint)


def forms(**written: str) -> tuple[Convention, ...]:
    """The plain convention and one for each way to write an answer."""
    return (Convention(), *(Convention(name, form=form) for name, form in written.items()))


@dataclass(frozen=True, slots=True)
class Draft:
    """A row before a convention is applied. `family` names its content, `gold` is a label, an answer or a tag per
    word."""

    family: tuple[int | str, ...]
    prompt: str
    gold: str | tuple[str, ...]
    words: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SuiteCard:
    """What a suite asks, its label set, and what guessing scores.

    chance: accuracy of a uniform guess (`classify`), of a guess among the context's names of the right sort
    (`extract`), of a uniform tag a word (`tag`), 0 for free output, None for plain text.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    chance: float | None
    description: str
    write: Callable[[Draw, str], Draft] = field(repr=False)
    conventions: tuple[Convention, ...] = (Convention(),)
