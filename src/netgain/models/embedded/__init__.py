"""The models that netgain brings along, so that a study needs no network.

tiny-llama, tiny-gpt2 and tiny-mlm lie in this folder, pretrained by tools/train_embedded.py. smollm2 is
SmolLM2-135M-Instruct, from the Python package that carries it (smollm2.py); minilm-mlm is made from a packaged encoder
on first use (minilm_mlm.py). What each of them knows and does not is in docs/models.md.
"""

from pathlib import Path

from netgain.errors import UserError, did_you_mean

TINY = ("tiny-llama", "tiny-gpt2", "tiny-mlm")
NAMES = ("smollm2", "minilm-mlm", *TINY)


def path(name: str) -> Path:
    """The model folder of an embedded name, in the form that `from_pretrained` reads."""
    if name not in NAMES:
        raise UserError(f'there is no embedded model "{name}".{did_you_mean(name, NAMES)} Known: {", ".join(NAMES)}.')
    if name == "smollm2":
        from netgain.models.embedded import smollm2

        return smollm2.folder()
    if name == "minilm-mlm":
        from netgain.models.embedded import minilm_mlm

        return minilm_mlm.folder()
    return Path(__file__).parent / name


def card(name: str) -> str:
    """The model card of a tiny model: what it knows and does not, in measured numbers."""
    if name not in TINY:
        raise UserError(f'there is no model card of "{name}".{did_you_mean(name, TINY)} Known: {", ".join(TINY)}.')
    return (path(name) / "README.md").read_text(encoding="utf-8")
