"""What the training loop costs over a bare torch loop, and against HF Trainer and TRL, on the same LoRA steps.

    python bench/loop.py [--steps N] [--rounds N] [--threads N] [--sizes 0.3M 7M] [--toy]

netgain and the bare loop take turns, step by step, in one process, so that whatever else the machine does hits both.
All start from the same rows of token ids. The bare loop puts them into tensors in two lines, since they are of one
length, and computes the same loss with the same kernel (bare) or the plain cross-entropy of the scored logits (plain);
netgain builds its Views, counts, guards and keeps its records inside its own time. After one step both have the same
loss. HF Trainer and TRL's SFTTrainer (where it is installed) run with their defaults. Target: netgain / bare <= 1.05.
"""

import argparse
import importlib.util
import itertools
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from claim import Claim, in_process, peak_mb
from netgain.adapters.lora import Lora
from netgain.data.chat import Encoded
from netgain.data.view import Autoregressive, View
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.linear import soft_target_loss
from netgain.objectives.terms.ce import Ce
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec, OptimSpec, Runtime, Weighted
from netgain.training.arms import Arm, Solo
from netgain.training.loop import Training, train

SIZES: dict[str, dict[str, int]] = {
    "0.3M": {"hidden": 64, "layers": 2, "vocab": 2048, "batch": 8, "length": 64},
    "7M": {"hidden": 256, "layers": 4, "vocab": 8192, "batch": 8, "length": 128},
}
LORA = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
LR = 5e-5


def model(size: dict[str, int]) -> LM:
    """A random Qwen3 of the size."""
    torch.manual_seed(0)
    head = 32 if size["hidden"] < 128 else 64
    heads = size["hidden"] // head
    config = {
        "hidden_size": size["hidden"],
        "intermediate_size": 3 * size["hidden"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "head_dim": head,
        "vocab_size": size["vocab"],
    }
    return load(ModelSpec(id="config:qwen3", config=config))


def rows(size: dict[str, int], n: int) -> list[Encoded]:
    """n rows of equal length, the second half supervised."""
    rng = np.random.default_rng(0)
    t = size["length"]
    return [
        Encoded(str(i), rng.integers(4, size["vocab"], t).tolist(), [j >= t // 2 for j in range(t)]) for i in range(n)
    ]


def batch(size: dict[str, int], table: list[Encoded], lm: LM) -> Callable[[int], View]:
    """step -> its View."""
    b, family, generator = size["batch"], Autoregressive(), torch.Generator()
    return lambda k: family.view([table[(k * b + i) % len(table)] for i in range(b)], lm.pad_id, generator)


def netgain_steps(size: dict[str, int], table: list[Encoded], steps: int) -> Iterator[object]:
    """The loop itself."""
    lm = model(size)
    adapter = Lora(r=8, alpha=16).attach(lm, torch_stream(0, "init"))
    optim = OptimSpec(learning_rate=LR, steps=steps, batch=size["batch"], schedule="constant")
    arm = Arm("bench", adapter, {"ce": Weighted(term=Ce())}, optim)
    return train(Training(Solo(adapter), [arm], batch(size, table, lm), 0, Runtime()))


def bare_steps(size: dict[str, int], table: list[Encoded], steps: int, *, fused: bool) -> Iterator[object]:
    """The least that trains the same adapter on the same tokens."""
    lm = model(size)
    b = size["batch"]
    peft: Any = get_peft_model(lm.net, LoraConfig(**LORA)).eval()  # type: ignore[arg-type]
    learned = [p for p in peft.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=LR, weight_decay=0.0, fused=True)
    body, head = lm.body, lm.head

    def one(chosen: list[Encoded]) -> float:
        ids = torch.tensor([row.ids for row in chosen])
        scored = torch.tensor([row.supervised for row in chosen])[:, 1:]
        targets = ids[:, 1:][scored]
        hidden = body(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][scored]
        if fused:
            loss = soft_target_loss(hidden, head, targets, 1.0).mean()
        else:
            loss = nn.functional.cross_entropy(nn.functional.linear(hidden, head.weight), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return (one([table[(k * b + i) % len(table)] for i in range(b)]) for k in range(steps))


def trainer_ms(size: dict[str, int], table: list[Encoded], steps: int, *, trl: bool = False) -> float:
    """Median milliseconds a step of HF Trainer, or of TRL's SFTTrainer, with their defaults."""
    from datasets import Dataset
    from transformers import Trainer, TrainerCallback, TrainingArguments

    kinds: Any = importlib.import_module("trl") if trl else None
    lm = model(size)
    peft: Any = get_peft_model(lm.net, LoraConfig(**LORA, task_type="CAUSAL_LM"))  # type: ignore[arg-type]
    labels = [[i if s else -100 for i, s in zip(row.ids, row.supervised, strict=True)] for row in table]
    data = Dataset.from_dict({"input_ids": [row.ids for row in table], "labels": labels}).with_format("torch")
    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        own: dict[str, Any] = {"bf16": False, "max_length": None} if trl else {}  # else TRL computes in bfloat16
        arguments = (kinds.SFTConfig if trl else TrainingArguments)(
            folder, per_device_train_batch_size=size["batch"], max_steps=steps, save_strategy="no", report_to=[],
            use_cpu=True, disable_tqdm=True, logging_strategy="no", lr_scheduler_type="constant", learning_rate=LR,
            **own,
        )  # fmt: skip
        own = {"processing_class": lm.tok} if trl else {}
        kind = kinds.SFTTrainer if trl else Trainer
        kind(model=peft, args=arguments, train_dataset=data, callbacks=[Clock()], **own).train()
    return statistics.median(b - a for a, b in itertools.pairwise(marks[2:])) * 1e3


def alone(size: dict[str, int], steps: int, trl: bool, threads: int) -> float:
    """What `trainer_ms` says; for a process of its own, since each trainer sets up accelerate for all behind it."""
    torch.set_num_threads(threads)
    logging.disable(logging.WARNING)
    return trainer_ms(size, rows(size, 8 * size["batch"]), steps, trl=trl)


def interleaved(loops: dict[str, Iterator[object]], steps: int) -> dict[str, list[float]]:
    """Milliseconds of each step of each loop; the loops take turns, and take turns at being first."""
    names = list(loops)
    found: dict[str, list[float]] = {name: [] for name in names}
    for k in range(steps):
        for name in names[k % len(names) :] + names[: k % len(names)]:
            start = time.perf_counter()
            next(loops[name])
            found[name].append((time.perf_counter() - start) * 1e3)
    return {name: times[3:] for name, times in found.items()}


def measure(name: str, size: dict[str, int], steps: int, rounds: int) -> dict[str, float]:
    """Medians over rounds; a ratio is taken within a turn, so that both sides saw the same machine."""
    table = rows(size, 8 * size["batch"])
    times: dict[str, list[float]] = {"netgain": [], "bare": [], "plain": []}
    trainer: dict[str, list[float]] = {"HF Trainer": []}
    if importlib.util.find_spec("trl"):
        trainer["TRL"] = []
    whole: list[float] = []
    for _ in range(rounds):
        loops = {
            "netgain": netgain_steps(size, table, steps),
            "bare": bare_steps(size, table, steps, fused=True),
            "plain": bare_steps(size, table, steps, fused=False),
        }
        turn = interleaved(loops, steps)
        for each, values in turn.items():
            times[each] += values
        whole.append(statistics.median(a / b for a, b in zip(turn["netgain"], turn["bare"], strict=True)))
        for each, found in trainer.items():
            try:
                found.append(in_process(alone, size, steps, each == "TRL", torch.get_num_threads()))
            except SystemExit as error:  # the bare loop can be compared without it
                print(f"{each}: does not run here ({error})", flush=True)
    ratio = {
        each: statistics.median(a / b for a, b in zip(times["netgain"], times[each], strict=True))
        for each in ("bare", "plain")
    }
    medians = {f"{each}_ms": statistics.median(values) for each, values in times.items()}
    what, own = f"the training loop, {name}", medians["netgain_ms"]
    agree, limit = same_loss(size, table), f"{own:.1f} ms a step"
    Claim("loop.py", f"{what}, against a bare torch loop", whole, 1.05, "x", peak_mb(), None, limit, agree).say()
    trainer = {each: found for each, found in trainer.items() if found}
    for each, found in trainer.items():
        turns = [own / ms for ms in found]
        drawn = f"a plain LoRA step, {name}: {each}"
        Claim("loop.py", f"{what}, against {each}", turns, 1.0, "x", limit=limit, drawn=drawn).say()
    return {
        **medians,
        **{f"{each}_ms": statistics.median(found) for each, found in trainer.items()},
        "netgain/bare": ratio["bare"],
        "netgain/plain": ratio["plain"],
    }


def same_loss(size: dict[str, int], table: list[Encoded]) -> str:
    """The loss of the second step from both sides, which must be one number."""
    ours: Any = list(itertools.islice(netgain_steps(size, table, 2), 2))[-1]
    theirs: Any = list(itertools.islice(bare_steps(size, table, 2, fused=True), 2))[-1]
    loss = ours.arms[0].loss
    if abs(loss - theirs) > 1e-3 * abs(theirs):
        raise SystemExit(f"the two loops compute different losses: {loss:.6f} and {theirs:.6f}")
    return f"losses {loss:.5f} and {theirs:.5f} at the second step"


def main() -> None:
    """Print one line of JSON a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument(
        "--toy", action="store_true", help="a few steps of the smallest size, to see that nothing breaks"
    )
    asked = parser.parse_args()
    if asked.toy:
        asked.sizes, asked.steps, asked.rounds = ["0.3M"], 6, 1
    torch.set_num_threads(asked.threads)
    logging.disable(logging.WARNING)
    for name in asked.sizes:
        found = measure(name, SIZES[name], asked.steps, asked.rounds)
        print(json.dumps({"size": name, **{key: round(value, 3) for key, value in found.items()}}), flush=True)


if __name__ == "__main__":
    main()
