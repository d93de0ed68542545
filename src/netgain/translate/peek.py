"""Any LoRA adapter folder on a model for a moment: how PEFT itself loads it, and the base again afterwards."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peft import PeftModel

from netgain.models.lm import LM


@contextmanager
def adapted(lm: LM, folder: Path) -> Iterator[None]:
    """Inside, `lm` computes with the adapter in `folder`."""
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that transformers has replaced.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        model = PeftModel.from_pretrained(lm.net, str(folder)).eval()
    try:
        yield
    finally:
        model.unload()
