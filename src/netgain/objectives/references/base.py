"""The base: the run's own model with its adapter switched off."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from netgain.objectives.references._base import Host, Reference

if TYPE_CHECKING:
    from netgain.models.lm import LM


class Base(Reference):
    """p_ref = p_base on the same tokens: no second copy of the weights."""

    kind: Literal["base"] = "base"

    @contextmanager
    def lm(self, host: Host) -> "Iterator[LM]":
        with host.off():
            yield host.lm
