"""Tokens a second and peak memory of LoRA fine-tuning that is held to its base, against a trainer with a second model.

    python bench/anchor.py [--divergence forward|reverse|js] [--steps N] [--rows B] [--length T] [--hidden H] ...

`trainer` is what the seed study ran: Hugging Face's Trainer (TRL's SFTTrainer is one) with its loss overridden, a
second frozen copy of the model, full logits of both at every position, and a full softmax of each. `netgain` is the
training loop itself: one model, whose adapter is switched off to be the base. `netgain free` has no anchor. All start
from the same adapter and read the same rows, half of whose tokens are supervised. Each runs in a process of its own,
since both its speed and its peak memory are wanted.
"""

import argparse
import itertools
import json
import logging
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from linear_loss import TERMS, WEIGHT, divergence, parser
from netgain.adapters.lora import Lora
from netgain.data.chat import Encoded
from netgain.data.view import Autoregressive
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.terms.ce import Ce
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec, OptimSpec, Runtime, Weighted
from netgain.training.arms import Arm, Solo, base_reference
from netgain.training.loop import Training, train

LR = 5e-5
VARIANTS = ("netgain", "netgain free", "trainer")


def model(asked: argparse.Namespace) -> LM:
    """A random Qwen3 of the size."""
    torch.manual_seed(0)
    config = {
        "hidden_size": asked.hidden,
        "intermediate_size": 3 * asked.hidden,
        "num_hidden_layers": asked.layers,
        "num_attention_heads": asked.hidden // 64,
        "num_key_value_heads": max(1, asked.hidden // 128),
        "head_dim": 64,
        "vocab_size": asked.vocab,
    }
    return load(ModelSpec(id="config:qwen3", config=config, dtype=asked.dtype))


def rows(asked: argparse.Namespace) -> list[Encoded]:
    """Rows of one length, the second half supervised."""
    rng, t = np.random.default_rng(0), asked.length
    supervised = [j >= t // 2 for j in range(t)]
    return [Encoded(str(i), rng.integers(4, asked.vocab, t).tolist(), supervised) for i in range(4 * asked.rows)]


def netgain_seconds(asked: argparse.Namespace, *, anchored: bool) -> tuple[list[float], float]:
    """Seconds of each step, and the last loss."""
    lm, table = model(asked), rows(asked)
    adapter = Lora(r=8, alpha=16).attach(lm, torch_stream(0, "init"))
    objective = {"ce": Weighted(term=Ce())}
    if anchored:
        objective["anchor"] = Weighted(term=TERMS[asked.divergence](), weight=WEIGHT)
    optim = OptimSpec(learning_rate=LR, steps=asked.steps, batch=asked.rows, schedule="constant")
    family, generator, solo = Autoregressive(), torch.Generator(), Solo(adapter)
    training = Training(
        solo,
        [Arm("bench", adapter, objective, optim)],
        lambda k: family.view([table[(k * asked.rows + i) % len(table)] for i in range(asked.rows)], 0, generator),
        0,
        Runtime(chunk=asked.chunk),
        references={"base": base_reference(solo)},
    )
    times, loss, start = [], 0.0, time.perf_counter()
    for record in train(training):
        times.append(time.perf_counter() - start)
        loss = record.arms[0].loss if record.arms[0] else loss
        start = time.perf_counter()
    return times, loss


def trainer_seconds(asked: argparse.Namespace) -> tuple[list[float], float]:
    """The same of a Trainer with a second model."""
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments

    reference, table = model(asked).net.eval(), rows(asked)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    peft: Any = get_peft_model(model(asked).net, config)  # type: ignore[arg-type]
    labels = [[i if s else -100 for i, s in zip(row.ids, row.supervised, strict=True)] for row in table]
    data = Dataset.from_dict({"input_ids": [row.ids for row in table], "labels": labels}).with_format("torch")
    marks: list[float] = []
    losses: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            marks.append(time.perf_counter())

    class Anchored(Trainer):
        def compute_loss(self, model: Any, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
            z = model(input_ids=inputs["input_ids"]).logits[:, :-1].float()
            with torch.no_grad():
                base = reference(input_ids=inputs["input_ids"]).logits[:, :-1].float()
            y = inputs["labels"][:, 1:]
            ce = F.cross_entropy(z.flatten(0, 1), y.flatten(), ignore_index=-100)
            apart = divergence(asked.divergence, z.flatten(0, 1), base.flatten(0, 1)) * (y != -100).flatten()
            loss = ce + WEIGHT * apart.sum() / (y != -100).sum()
            losses.append(float(loss.detach()))
            return loss

        def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
            return SequentialSampler(table)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=asked.rows, max_steps=asked.steps, save_strategy="no", report_to=[],
            use_cpu=True, disable_tqdm=True, logging_strategy="no", lr_scheduler_type="constant", learning_rate=LR,
        )  # fmt: skip
        Anchored(model=peft, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)], losses[-1]


def measure(name: str, asked: argparse.Namespace, out: Any) -> None:
    """One variant, in a process of its own: median seconds of a step, peak MB, last loss."""
    torch.set_num_threads(asked.threads)
    logging.disable(logging.WARNING)
    run: dict[str, Callable[[], tuple[list[float], float]]] = {
        "netgain": lambda: netgain_seconds(asked, anchored=True),
        "netgain free": lambda: netgain_seconds(asked, anchored=False),
        "trainer": lambda: trainer_seconds(asked),
    }
    times, loss = run[name]()
    out.put((statistics.median(times[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, loss))


def main() -> None:
    """Print one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=4)
    asked = arguments.parse_args()
    context = multiprocessing.get_context("spawn")
    found: dict[str, tuple[float, float, float]] = {}
    for name in VARIANTS:
        out = context.Queue()
        child = context.Process(target=measure, args=(name, asked, out))
        child.start()
        found[name] = out.get()
        child.join()
    tokens = asked.rows * asked.length
    result = {
        "divergence": asked.divergence,
        "tokens/s": {name: round(tokens / seconds, 1) for name, (seconds, _, _) in found.items()},
        "peak MB": {name: round(peak) for name, (_, peak, _) in found.items()},
        "loss": {name: round(loss, 4) for name, (_, _, loss) in found.items()},
        "netgain/trainer seconds": round(found["netgain"][0] / found["trainer"][0], 3),
        "anchored/free seconds": round(found["netgain"][0] / found["netgain free"][0], 3),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
