"""Tokens a second and peak memory of LoRA fine-tuning that is held to its base, against a trainer with a second model.

    python bench/anchor.py [--divergence forward|reverse|js] [--steps N] [--rows B] [--length T] [--hidden H] ...
                           [--gpu [--size 1.7B|8B]] [--toy]

`trainer` is what the seed study ran: Hugging Face's Trainer (TRL's SFTTrainer is one) with its loss overridden, a
second frozen copy of the model, full logits of both at every position, and a full softmax of each. `netgain` is the
training loop itself: one model, whose adapter is switched off to be the base; `netgain cached` reads what the base said
from memory, as a run does from its second epoch on, or with another arm's or seed's cache. `netgain free` has no
anchor. All start from the same adapter and read the same rows, half of whose tokens are supervised. Each runs in a
process of its own, since both its speed and its peak memory are wanted; the processes take turns for --rounds rounds.

Targets: cached, <= 0.20x the trainer's time with a forward KL and <= 0.40x with the others, and forward KL <= 1.05x the
time without an anchor. How close the two come is told by the last losses, and it is an error when they differ.
--gpu has the shape of Qwen3-1.7B, or the width of Qwen3-8B with a quarter of its layers (its weights would be drawn at
random for minutes otherwise).
"""

import argparse
import itertools
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from claim import Claim, gemm_rate, in_process, peak_mb
from linear_loss import TARGETS, TERMS, WEIGHT, asked_of, divergence, on_gpu, parser
from netgain.adapters.lora import Lora
from netgain.data.chat import Encoded
from netgain.data.view import Autoregressive, View
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.linear import soft_statistic
from netgain.objectives.term import Reading
from netgain.objectives.terms.ce import Ce
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec, OptimSpec, Runtime, Weighted
from netgain.training.arms import Arm, Reference, Solo, base_reference
from netgain.training.loop import Training, train

LR = 5e-5
VARIANTS = ("netgain", "netgain cached", "netgain free", "trainer")
LARGE: dict[str, dict[str, Any]] = {
    "1.7B": {"hidden": 2048, "layers": 28, "head": 128, "heads": 16, "kv": 8, "inner": 6144, "rows": 4},
    "8B": {"hidden": 4096, "layers": 9, "head": 128, "heads": 32, "kv": 8, "inner": 12288, "rows": 4},
}
"""Qwen3's shapes; all of its vocabulary."""


def model(asked: argparse.Namespace) -> LM:
    """A random Qwen3 of the size."""
    torch.manual_seed(0)
    config = {
        "hidden_size": asked.hidden,
        "intermediate_size": asked.inner or 3 * asked.hidden,
        "num_hidden_layers": asked.layers,
        "num_attention_heads": asked.heads or asked.hidden // 64,
        "num_key_value_heads": asked.kv or max(1, asked.hidden // 128),
        "head_dim": asked.head,
        "vocab_size": asked.vocab,
    }
    return load(ModelSpec(id="config:qwen3", config=config, dtype=asked.dtype), "cuda" if on_gpu(asked) else "cpu")


def rows(asked: argparse.Namespace) -> list[Encoded]:
    """Rows of one length, the second half supervised."""
    rng, t = np.random.default_rng(0), asked.length
    supervised = [j >= t // 2 for j in range(t)]
    return [Encoded(str(i), rng.integers(4, asked.vocab, t).tolist(), supervised) for i in range(4 * asked.rows)]


def remembering(read: Reference, solo: Solo, asked: argparse.Namespace) -> Reference:
    """The base, asked once about each View: H + 1 numbers a token for a forward KL, its states for the others."""
    known: dict[int, Reading] = {}

    def again(view: View) -> Reading:
        key = int(view.input_ids[0, :8].sum())
        if key not in known:
            known[key] = read(view)
            states = known[key].hidden
            if asked.divergence == "forward" and states is not None:
                head = known[key].head
                mean, constant, _ = soft_statistic(states, head, solo.lm.head, asked.chunk)
                known[key] = Reading(None, head, mean, constant)
        return known[key]

    return again


def netgain_seconds(asked: argparse.Namespace, *, anchored: bool, cached: bool) -> tuple[list[float], float]:
    """Seconds of each step, and the last loss; with a cache, of the steps behind the first epoch."""
    lm, table = model(asked), rows(asked)
    adapter = Lora(r=8, alpha=16).attach(lm, torch_stream(0, "init"))
    objective = {"ce": Weighted(term=Ce())}
    if anchored:
        objective["anchor"] = Weighted(term=TERMS[asked.divergence](), weight=WEIGHT)
    epoch = len(table) // asked.rows if cached else 0
    optim = OptimSpec(learning_rate=LR, steps=epoch + asked.steps, batch=asked.rows, schedule="constant")
    family, generator, solo = Autoregressive(), torch.Generator(), Solo(adapter)
    base = base_reference(solo)
    training = Training(
        solo,
        [Arm("bench", adapter, objective, optim)],
        lambda k: family.view([table[(k * asked.rows + i) % len(table)] for i in range(asked.rows)], 0, generator),
        0,
        Runtime(chunk=asked.chunk),
        references={"base": remembering(base, solo, asked) if cached else base},
    )
    times, loss, start = [], 0.0, time.perf_counter()
    for record in train(training):
        times.append(time.perf_counter() - start)
        loss = record.arms[0].loss if record.arms[0] else loss
        start = time.perf_counter()
    return times[epoch:], loss


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
            use_cpu=not on_gpu(asked), disable_tqdm=True, logging_strategy="no", lr_scheduler_type="constant",
            learning_rate=LR,
        )  # fmt: skip
        Anchored(model=peft, args=arguments, train_dataset=data, callbacks=[Clock()]).train()
    marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)], losses[-1]


def measure(name: str, asked: argparse.Namespace) -> tuple[float, float, float]:
    """One variant, in a process of its own: median seconds of a step, peak MB, last loss."""
    torch.set_num_threads(asked.threads)
    logging.disable(logging.WARNING)
    run: dict[str, Callable[[], tuple[list[float], float]]] = {
        "netgain": lambda: netgain_seconds(asked, anchored=True, cached=False),
        "netgain cached": lambda: netgain_seconds(asked, anchored=True, cached=True),
        "netgain free": lambda: netgain_seconds(asked, anchored=False, cached=False),
        "trainer": lambda: trainer_seconds(asked),
    }
    times, loss = run[name]()
    return statistics.median(times[1:] or times), peak_mb(on_gpu(asked)), loss


def floor(asked: argparse.Namespace) -> float:
    """Seconds of the matrix products of a step at this machine's rate: body forward and backward to the adapters, and
    the two of the head for the scored tokens."""
    like = torch.zeros(1, dtype=getattr(torch, asked.dtype), device="cuda" if on_gpu(asked) else "cpu")
    tokens, h = asked.rows * asked.length, asked.hidden
    attention = 2 * h * asked.head * ((asked.heads or h // 64) + (asked.kv or max(1, h // 128)))
    body = asked.layers * (attention + 3 * h * (asked.inner or 3 * h))
    return 4 * tokens * (body + asked.vocab * h / 2) / gemm_rate(min(tokens, 512), h, asked.vocab, like)


def shaped() -> argparse.Namespace:
    """The arguments; a size stands for its shape, unless --toy has one of its own."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=4)
    arguments.add_argument("--size", choices=sorted(LARGE), help="with --gpu; 1.7B unless it is given")
    for name in ("heads", "kv", "inner"):
        arguments.add_argument(f"--{name}", type=int)
    arguments.add_argument("--head", type=int, default=64)
    asked = asked_of(arguments)
    if asked.gpu:
        asked.size = asked.size or "1.7B"
        for name, value in LARGE[asked.size].items() if not asked.toy else ():
            setattr(asked, name, value)
    return asked


def main() -> None:
    """Print one line of JSON, and the claims."""
    asked = shaped()
    turns = [{name: in_process(measure, name, asked) for name in VARIANTS} for _ in range(asked.rounds)]
    tokens, last = asked.rows * asked.length, turns[-1]
    result = {
        "divergence": asked.divergence,
        "tokens/s": {n: round(tokens / statistics.median(turn[n][0] for turn in turns), 1) for n in VARIANTS},
        "peak MB": {name: round(peak) for name, (_, peak, _) in last.items()},
        "loss": {name: round(loss, 4) for name, (_, _, loss) in last.items()},
    }
    print(json.dumps(result), flush=True)
    model_of = f"{asked.size} " if asked.size else f"{asked.hidden} wide, {asked.layers} layers, "
    shape = f"{model_of}V = {asked.vocab:,}, {asked.rows} x {asked.length}"
    what = f"LoRA SFT held to its base ({asked.divergence}), {shape}"
    agree = f"last losses {last['netgain'][2]:.4f} and {last['trainer'][2]:.4f}"
    target, least = TARGETS[asked.divergence], floor(asked)
    beside = 1.05 if asked.divergence == "forward" else None
    drawn = "fine-tuning held to its base: Trainer with a second model"
    for name, other, words, aim, label in (
        ("netgain cached", "trainer", "a second model and full softmax", target, drawn),
        ("netgain", "trainer", "the same, base asked anew at each step", None, ""),
        ("netgain cached", "netgain free", "ours without an anchor", beside, ""),
    ):
        ratios = [turn[name][0] / turn[other][0] for turn in turns]
        took = statistics.median(turn[name][0] for turn in turns)
        limit = f"{took:.3g} s a step, {took / least:.2g}x its matrix products at this machine's rate ({least:.3g} s)"
        whole = f"{what}, {asked.dtype}: against {words}"
        Claim("anchor.py", whole, ratios, aim, "x", last[name][1], last[other][1], limit, agree, label).say()
    gap = abs(last["netgain"][2] - last["trainer"][2])
    if gap > (1e-3 if asked.dtype == "float32" else 3e-2) * abs(last["trainer"][2]):
        sys.exit(f"the two sides compute different losses: {agree}")


if __name__ == "__main__":
    main()
