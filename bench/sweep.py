"""Eight weights of distillation: a process each with HF Trainer and peft, against one `netgain run`.

    python bench/sweep.py [--size 0.3M|7M|90M ...] [--teacher model|few_shot] [--steps N] [--arms N] [--threads N]
                          [--processes N] [--apart] [--gpu] [--toy]

(a) runs one process after the other. Each loads student and teacher, and asks the teacher anew at every step; rows
    come tokenised and in order from a file, and the initial adapter too, so that both learn from the same numbers.
(b) is one command: it reads JSONL, tokenises, computes the teacher once, trains the arms as a pack, checkpoints,
    measures a text, seals eight runs. --apart adds the same command without packing.
The teacher is another model with twice the student's layers (at 1.7B as many), or with --teacher few_shot the frozen
base itself with 5 demonstrations in context, a copy of it in each process of (a), as the study had it that this is
about: there the teacher reads six times as many tokens as the student. What is shown is netgain's choice, and (a) gets
the very same ids from the file.
The models of the 90M size are bfloat16 in (b) and float32 in (a), unless --baseline-dtype says otherwise.
Wall time is from start to exit, imports included; memory is the largest resident set of any of the processes.
The processes of (a) are cut in two halves, one before (b) and one behind it, so that a machine that is shared slows
both sides; `cpu` is the ratio of the processor time of both.
With --processes fewer than the arms, (a) runs so many of them and the others are counted as their mean.
Equality: the relative norm of the difference of what the two adapters learned. Targets: (b) / (a) <= 0.15, 0.25, 0.20
in time at the three sizes on a CPU, 0.35 with --gpu (random weights of the size of Qwen3-1.7B). Steps are as many as
when the targets were set, 60, 40 and 6; more steps (--steps) weigh what a process costs to start less. --toy takes the
way of --gpu on the CPU, to see that nothing breaks.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from claim import Claim

SIZES: dict[str, dict[str, Any]] = {
    "0.3M": {"hidden": 64, "layers": 4, "head": 32, "vocab": 1024, "batch": 4, "length": 64, "steps": 60},
    "7M": {"hidden": 256, "layers": 6, "head": 64, "vocab": 8192, "batch": 4, "length": 128, "steps": 40},
    "90M": {"hidden": 640, "layers": 14, "head": 64, "vocab": 32000, "batch": 2, "length": 128, "steps": 6},
    "1.7B": {
        "hidden": 2048,
        "layers": 28,
        "head": 128,
        "vocab": 151936,
        "batch": 4,
        "length": 512,
        "steps": 20,
        "teacher": 1,
    },
    "toy": {"hidden": 64, "layers": 1, "head": 32, "vocab": 300, "batch": 2, "length": 32, "steps": 3},
}
HALF = ("90M", "1.7B", "toy")
"""Sizes whose models are bfloat16 in netgain."""
TARGETS = {"0.3M": 0.15, "7M": 0.25, "90M": 0.20, "1.7B": 0.35, "toy": 1.0}
WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0)
LR = 1e-3
SHOTS = 5
TEACHERS = {"model": "distillation", "few_shot": f"distillation from the base with {SHOTS} demonstrations"}
DRAWN = {"model": "a teacher of twice the layers", "few_shot": "few-shot teacher"}
"""What each claim calls it, and the figure."""


# ---- what both sides are given


def build(folder: Path, size: dict[str, Any], arms: int, steps: int, teacher: str) -> None:
    """Models, rows (as text and as ids in the order of the steps), the initial adapter, the study."""
    import random

    import torch

    from netgain.adapters.lora import Lora
    from netgain.execute.prepare import order_of, prepare, references_of, teacher_rows, template_of
    from netgain.models.load import load
    from netgain.spec.identity import torch_stream
    from netgain.spec.load import load as load_study
    from netgain.spec.run import ModelSpec

    draw = random.Random(0)
    half = size["length"] // 2
    letters = "abcdefghijklmnopqrstuvwxyz"  # no spaces: every row has the same length
    rows = [
        {"p": "".join(draw.choices(letters, k=half)), "a": "".join(draw.choices(letters, k=half - 2))}
        for _ in range(steps * size["batch"])
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    layers = {"student": size["layers"], "teacher": size.get("teacher", 2) * size["layers"]}
    for seed, name in enumerate(layers if teacher == "model" else ["student"]):
        torch.manual_seed(seed)
        lm = load(ModelSpec(id="config:qwen3", config={**config(size, layers[name]), "seed": seed}))
        lm.net.save_pretrained(folder / name)
        lm.tok.save_pretrained(folder / name)
    (folder / "study.yaml").write_text(json.dumps(study(folder, size, arms, steps, teacher)))
    run = load_study(folder / "study.yaml").base
    lm = load(run.model.model_copy(update={"dtype": "float32"}))
    template = template_of(run.model, lm.tok)
    prepared = prepare(run, template, folder)
    learned = prepared.train.rows
    order = order_of(run, len(learned))
    chosen = [i for k in range(steps) for i in order.step(k, [len(row.ids) for row in learned])]
    asked = teacher_rows("teacher", references_of(run)["teacher"], prepared, template, chosen)
    data = [
        {"input_ids": row.ids, "labels": [i if s else -100 for i, s in zip(row.ids, row.supervised, strict=True)],
         "asked": other.ids}
        for row, other in zip([learned[i] for i in chosen], asked, strict=True)
    ]  # fmt: skip
    (folder / "steps.json").write_text(json.dumps(data))
    Lora(r=8, alpha=16).attach(lm, torch_stream(0, "init")).save(folder / "initial")


def config(size: dict[str, Any], layers: int) -> dict[str, Any]:
    """The shape of a Qwen3."""
    heads = size["hidden"] // size["head"]
    return {
        "hidden_size": size["hidden"],
        "intermediate_size": 3 * size["hidden"],
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 2),
        "head_dim": size["head"],
        "vocab_size": size["vocab"],
        "max_position_embeddings": (SHOTS + 2) * size["length"],
    }


def study(folder: Path, size: dict[str, Any], arms: int, steps: int, teacher: str) -> dict[str, Any]:
    """The sweep as a study file."""
    dtype = "bfloat16" if size in [SIZES[name] for name in HALF] else "float32"
    other = {"kind": "model", "model": {"id": str(folder / "teacher"), "template": "plain", "dtype": dtype}}
    shown = {"kind": "few_shot", "shots": SHOTS}
    rows = {"kind": "jsonl", "path": str(folder / "rows.jsonl"), "prompt": "p", "answer": "a"}
    return {
        "name": "sweep",
        "question": "What does the weight of distillation change?",
        "base": {
            "model": {"id": str(folder / "student"), "template": "plain", "dtype": dtype},
            "method": {"kind": "lora", "r": 8, "alpha": 16},
            "data": {"sources": {"rows": rows}, "dev": 0},
            "references": {"teacher": other if teacher == "model" else shown},
            "objective": {"ce": "ce", "kd": {"term": {"kind": "kl", "reference": "teacher"}, "weight": 0.0}},
            "optim": {"learning_rate": LR, "steps": steps, "batch": size["batch"], "schedule": "constant"},
            "tasks": {
                "text": {"kind": "ppl", "source": {"kind": "embedded", "suite": "text", "n": 1}, "characters": 60}
            },
        },
        "vary": {"arm": {f"w{weight}": {"objective.kd.weight": weight} for weight in WEIGHTS[:arms]}},
    }


# ---- (a)


def alone(folder: Path, weight: float, out: Path, dtype: str, gpu: bool) -> None:
    """One weight as a person would train it: HF Trainer, peft, and a teacher that is asked at every step."""
    import torch
    import torch.nn.functional as F
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    kind = getattr(torch, dtype)
    base = AutoModelForCausalLM.from_pretrained(folder / "student", dtype=kind)
    student: Any = PeftModel.from_pretrained(base, str(folder / "initial"), is_trainable=True)
    other = folder / "teacher" if (folder / "teacher").exists() else folder / "student"
    teacher: Any = AutoModelForCausalLM.from_pretrained(other, dtype=kind).eval().requires_grad_(False)
    teacher.to("cuda" if gpu else "cpu")
    data = Dataset.from_list(json.loads((folder / "steps.json").read_text()))
    spec = json.loads((folder / "study.yaml").read_text())["base"]["optim"]

    class Distilling(Trainer):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            labels, asked = inputs.pop("labels")[:, 1:], inputs.pop("asked")
            logits = model(**inputs, use_cache=False).logits[:, :-1].float()
            with torch.no_grad():  # both end with the same answer
                other = teacher(asked, use_cache=False).logits[:, :-1][:, -labels.shape[1] :].float()
            mask = labels != -100
            ce = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
            kl = F.kl_div(logits.log_softmax(-1), other.log_softmax(-1), reduction="none", log_target=True).sum(-1)
            return ce + weight * (kl * mask).sum() / mask.sum()

        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch, per_device_train_batch_size=spec["batch"], max_steps=spec["steps"], learning_rate=LR,
            lr_scheduler_type="constant", weight_decay=0.0, save_strategy="no", report_to=[], use_cpu=not gpu,
            disable_tqdm=True, logging_strategy="no", max_grad_norm=1.0, remove_unused_columns=False,
        )  # fmt: skip
        Distilling(model=student, args=arguments, train_dataset=data.with_format("torch")).train()
    student.save_pretrained(str(out))


# ---- both, measured


def timed(command: list[str], threads: int, extra: dict[str, str]) -> tuple[float, float, float]:
    """(seconds, seconds of processor time, MB of the largest resident set) of a process that must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", **extra}
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        if status:
            said.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{said.read()[-3000:]}")
    return took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def difference(folder: Path, ledger: Path, weights: Sequence[float]) -> float:
    """The largest ||ours - theirs|| / ||theirs - initial|| over the arms that ran alone."""
    import torch
    from safetensors.torch import load_file

    notes = json.loads((ledger / "studies" / "sweep.json").read_text())
    sigs = {run["arm"]: run["sig"] for run in notes["runs"]}
    initial = load_file(folder / "initial" / "adapter_model.safetensors")
    worst = 0.0
    for weight in weights:
        ours = load_file(ledger / "runs" / sigs[f"w{weight}"] / "adapter" / "adapter_model.safetensors")
        theirs = load_file(folder / f"alone-{weight}" / "adapter_model.safetensors")
        flat = {n: torch.cat([d[k].float().flatten() for k in sorted(initial)]) for n, d in
                (("ours", ours), ("theirs", theirs), ("initial", initial))}  # fmt: skip
        apart = (flat["ours"] - flat["theirs"]).norm() / (flat["theirs"] - flat["initial"]).norm()
        worst = max(worst, float(apart))
    return worst


def measure(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Both sides at one size."""
    size = SIZES[name]
    steps = asked.steps or size["steps"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build(folder, size, asked.arms, steps, asked.teacher)
        me = [sys.executable, str(Path(__file__).resolve())]
        device = ["--device", "cuda" if asked.gpu else "cpu"]

        def process(weight: float) -> tuple[float, float, float]:
            out = [str(folder), str(weight), str(folder / f"alone-{weight}"), asked.baseline_dtype]
            words = [*me, "--alone", *out, *(["--gpu"] if asked.gpu else [])]
            return timed(words, asked.threads, {"HF_HUB_OFFLINE": "1"})

        weights = WEIGHTS[: asked.arms]
        every = max(1, len(weights) // (asked.processes or len(weights)))
        weights = weights[::-every][::-1]  # the last one among them: the first is 0, and teaches nothing
        theirs = [process(weight) for weight in weights[: len(weights) // 2]]
        run = [sys.executable, "-m", "netgain", "run", str(folder / "study.yaml"), *device, "--ledger"]
        ours, cpu, memory = timed([*run, str(folder / "ledger")], asked.threads, {})
        theirs += [process(weight) for weight in weights[len(weights) // 2 :]]
        share = asked.arms / len(theirs)
        seconds = share * sum(took for took, _, _ in theirs)
        found: dict[str, Any] = {
            "size": name, "teacher": asked.teacher, "arms": asked.arms, "steps": steps, "target": TARGETS[name],
            "processes_s": seconds, "netgain_s": ours, "ratio": ours / seconds,
            "cpu": cpu / share / sum(used for _, used, _ in theirs),
            "processes_mb": max(mb for _, _, mb in theirs), "netgain_mb": memory,
            "difference": difference(folder, folder / "ledger", weights),
        }  # fmt: skip
        if asked.apart:
            apart = timed([*run, str(folder / "apart"), "--pack", "off"], asked.threads, {})
            found["apart_s"], _, found["apart_mb"] = apart
    return found


def main() -> None:
    """Print one line of JSON and a claim a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=list(SIZES))
    parser.add_argument("--teacher", choices=list(TEACHERS), default="model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--arms", type=int, default=8)
    parser.add_argument("--processes", type=int, help="of (a), if not one for each arm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--apart", action="store_true", help="also netgain without packing")
    parser.add_argument("--gpu", action="store_true", help="on a GPU, at the size of Qwen3-1.7B unless --size says")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--baseline-dtype", default=None, choices=["float32", "bfloat16"])
    parser.add_argument("--alone", nargs=4, metavar=("FOLDER", "WEIGHT", "OUT", "DTYPE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        folder, weight, out, dtype = asked.alone
        alone(Path(folder), float(weight), Path(out), dtype, asked.gpu)
        return
    if asked.toy:
        asked.size, asked.gpu, asked.arms, asked.threads, asked.baseline_dtype = ["toy"], False, 2, 1, "bfloat16"
    asked.baseline_dtype = asked.baseline_dtype or ("bfloat16" if asked.gpu else "float32")
    for name in asked.size or (["1.7B"] if asked.gpu else ["0.3M", "7M", "90M"]):
        found = measure(name, asked)
        rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}
        print(json.dumps(rounded), flush=True)
        kind = TEACHERS[asked.teacher]
        what = f"{found['arms']} weights of {kind}, {name}, {found['steps']} steps, against a process each"
        if asked.processes:
            what += f" ({asked.processes} of which ran)"
        agree = f"adapters differ by {found['difference']:.0e}"
        limit = (
            f"{found['netgain_s']:.1f} s against {found['processes_s']:.1f} s; {found['cpu']:.2f}x in processor time"
        )
        memory = found["netgain_mb"], found["processes_mb"]
        drawn = f"8 weights, {DRAWN[asked.teacher]}, {name}: 8 processes"
        Claim("sweep.py", what, [found["ratio"]], found["target"], "x", *memory, limit, agree, drawn).say()
        if name not in HALF and found["difference"] > 1e-2:  # in bfloat16 it is told, not judged
            sys.exit(f"{name}: {agree}")


if __name__ == "__main__":
    main()
