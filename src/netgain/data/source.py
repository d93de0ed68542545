"""An example: the turns that are asked, the answer that is wanted, and what a judge needs to know about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """What is asked (`turns`), what is wanted (`answer`), and the group that no split may divide."""

    id: str
    group: str
    turns: tuple[Turn, ...]
    answer: str
    labels: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
