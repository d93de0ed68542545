"""The products of two matrices that low-rank methods learn, found among an adapter's tensors by their names."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from netgain.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

STARTS = {"lora_B": "lora_A", "b": "a", "up": "down"}
"""What a product ends with -> what it begins with: LoRA and its kin; trajectory; bottleneck and trajectory's hidden
form."""
END = re.compile(r"^(?P<site>.+)\.(?P<end>lora_B|b|up)(?P<rest>\.weight|\.\d+|)$")


def products(learned: "Mapping[str, Tensor]", term: str) -> "dict[str, list[tuple[Tensor, Tensor]]]":
    """site -> (A (r, in), B (out, r)) of each of its products."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, tensor in learned.items():
        if (hit := END.match(name)) is None:
            continue
        start = f"{hit['site']}.{STARTS[hit['end']]}{hit['rest']}"
        if start in learned:
            found.setdefault(hit["site"], []).append((learned[start], tensor))
    if not found:
        raise UserError(
            f"objective.{term}: this method learns no product of two matrices; use it with lora, bottleneck or "
            "trajectory, or leave it out."
        )
    return found
