"""L2 to start: sum over everything that learns of (theta - theta_0)^2, theta_0 being where the run began."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.term import Penalty

if TYPE_CHECKING:
    from torch import Tensor


class L2ToInit(Penalty):
    """||theta - theta_0||^2. For LoRA theta is A and B, so B is held at 0 and A where it was drawn."""

    kind: Literal["l2_to_init"] = "l2_to_init"

    def value(self, learned: "Mapping[str, Tensor]", initial: "Mapping[str, Tensor]") -> "Tensor":
        import torch

        return torch.stack([(tensor - initial[name]).float().square().sum() for name, tensor in learned.items()]).sum()
