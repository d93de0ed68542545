"""How a masked-diffusion model's answers are corrupted while it learns, and how they are written."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from netgain.spec.plugin import Frozen


class Denoise(Frozen):
    """An answer is `length` tokens, its end and padding included; at time t each is masked with chance 1 - alpha(t).

    linear   alpha(t) = 1 - t
    cosine   alpha(t) = cos(pi t / 2): more of the time is spent at few masks
    An answer is written in `steps` rounds (as many as it has tokens, unless given) by the `sampler`: of the absorbing
    process, or the tokens that the model is surest of first; in blocks of `block` tokens from the left, if given.
    `mask` is the token that hides another, by its text or its number, and makes a denoiser of a model whose class is
    causal (LLaDA): it sees both ways and predicts each token at its own place. Others' tokenizers know their own.
    """

    length: PositiveInt = 8
    schedule: Literal["linear", "cosine"] = "linear"
    sampler: Literal["confidence", "absorbing"] = "confidence"
    steps: PositiveInt | None = None
    block: PositiveInt | None = None
    mask: str | NonNegativeInt | None = None
