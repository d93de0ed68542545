"""IA3: keys, values and feed-forward features are rescaled by learned vectors that begin at one (Liu et al. 2022)."""

from typing import TYPE_CHECKING, Literal

from netgain.adapters.method import Adapter, Method
from netgain.errors import UserError

if TYPE_CHECKING:
    import torch

    from netgain.models.lm import LM


class Ia3(Method):
    """Through HF PEFT and in its file format. `feedforward` are those of the `targets` whose inputs are rescaled; PEFT
    knows both for common families."""

    kind: Literal["ia3"] = "ia3"
    targets: tuple[str, ...] | None = None
    feedforward: tuple[str, ...] | None = None

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        from peft import IA3Config
        from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN

        from netgain.adapters._torch.peft import PeftAdapter, stores_transposed

        if self.targets is None and lm.net.config.model_type not in KNOWN:
            raise UserError(
                f"method ia3: PEFT does not know which layers of a {lm.net.config.model_type} to rescale; name them "
                "with method.targets and method.feedforward."
            )
        config = IA3Config(
            target_modules=None if self.targets is None else list(self.targets),
            feedforward_modules=None if self.feedforward is None else list(self.feedforward),
            fan_in_fan_out=stores_transposed(lm, self.targets),
        )
        return PeftAdapter(lm, config, generator)
