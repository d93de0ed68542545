"""Questions that may be answered several times at a temperature: what pass@k and diversity rest on."""

import hashlib

from pydantic import Field, PositiveInt, model_validator

from netgain.data.source import Example
from netgain.spec.run import SpecError
from netgain.tasks._base import Generate, Prompted, Request, Sampling


class Sampled(Prompted):
    """samples       answers a question, one row of evidence each
    temperature   0 is greedy, and gives one answer
    top_p         sampling keeps the likeliest tokens of this mass
    """

    samples: PositiveInt = 1
    temperature: float = Field(default=0.0, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _one_greedy_answer(self) -> "Sampled":
        if self.samples > 1 and self.temperature == 0:
            raise SpecError("several samples need a temperature above 0; greedy answers are all the same", "samples")
        return self

    def ask(self, example: Example, shown: tuple[Example, ...]) -> Request:
        key = int.from_bytes(hashlib.sha256(f"{self.seed}/{example.id}".encode()).digest()[:7], "big")
        sampling = Sampling(self.samples, self.temperature, self.top_p, key)
        return Generate(example.turns, shown, self.golds(example), self.max_new_tokens, sampling)
