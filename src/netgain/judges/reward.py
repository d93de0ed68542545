"""A reward model as a judge: any Hugging Face sequence-classification model with one output.

score(answer) = the raw logit of the whole conversation, rendered by the reward model's own chat template. It is never
squashed: only differences of rewards mean anything, so reports standardise them by the base's own answers, and say how
often the tuned model would win, sigmoid(r_tuned - r_base).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from netgain.data.files import locate
from netgain.judges._base import Bench, Case, Judge, Rating


class Reward(Judge):
    """The logit of a reward model.

    model       a hub id, or a folder written as a path (./, /, ~), such as netgain train-judge makes
    max_len     tokens it reads (default: all its positions); the beginning of a longer conversation is cut, the answer
                never
    batch       conversations at once
    """

    kind: Literal["reward"] = "reward"
    model: str
    revision: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    max_len: PositiveInt | None = None
    batch: PositiveInt = 16

    def ready(self, folder: Path | None) -> None:
        self.place(folder)

    def place(self, folder: Path | None) -> str:
        """What `from_pretrained` takes: a folder, found as data files are, or a hub id."""
        return str(locate(self.model, folder)) if self.model.startswith((".", "/", "~")) else self.model

    def rate(self, cases: Sequence[Case], bench: Bench) -> list[list[Rating]]:
        from netgain.judges._reward import RewardModel

        model = RewardModel.load(self.place(bench.folder), self.dtype, self.revision, bench.device)
        return [[rating] for rating in model.rate(cases, self.max_len, self.batch)]
