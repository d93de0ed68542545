"""What CE + lambda * D(base, tuned) costs with a frozen head of many words, against full logits, TRL and Liger.

    python bench/linear_loss.py [--divergence forward|reverse|js] [--rows B] [--length T] [--hidden H] [--layers L]
                                [--vocab V] [--chunk C] [--rounds N] [--threads N] [--dtype float32|bfloat16]
                                [--memory] [--no-memory] [--gpu] [--toy]

One step is the tuned body forward, the base body forward, the loss, and backward to the adapters; half of the
positions are supervised. `cached` reads the base from memory instead, as a run does that keeps its teacher on disk,
and `plain` is cross-entropy alone. The variants take turns in one process, so that whatever else the machine does hits
all of them; peak memory above the loaded model is measured in a process for each. TRL's chunked kernels and Liger's
torch path are measured when they are installed beside netgain, and Liger's Triton kernel for cross-entropy on a GPU.
--memory measures the peaks alone, at 4 x 512 tokens the claim about them.

Targets, with the base read from memory: forward KL <= 0.20x naive and TRL, no slower than the fastest plain
cross-entropy of any peer, <= 1.05x ours without the term, <= 0.05x naive's extra memory; reverse KL and JS <= 0.40x
naive. "naive" makes logits and softmaxes of every position and masks what they give, as trainers do (HF's own loss,
TRL's GKD); `naive supervised` has the scored positions alone. "ours without the term" is measured in three times as
many rounds, since the difference is small.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from claim import Claim, copy_rate, gemm_rate, in_process, peak_mb
from netgain.adapters.lora import Lora
from netgain.data.view import View
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.objectives.linear import soft_statistic
from netgain.objectives.objective import Objective
from netgain.objectives.selection import Selection, select
from netgain.objectives.term import Reading, Term
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.js import Js
from netgain.objectives.terms.kl import Kl
from netgain.objectives.terms.reverse_kl import ReverseKl
from netgain.spec.identity import torch_stream
from netgain.spec.run import ModelSpec, Weighted
from netgain.training.arms import Solo, base_reference

WEIGHT = 0.3
TERMS: dict[str, Callable[[], Term]] = {"forward": Kl, "reverse": ReverseKl, "js": Js}
BETA = {"forward": 0.0, "reverse": 1.0, "js": 0.5}
TARGETS = {"forward": 0.20, "reverse": 0.40, "js": 0.40}


@dataclass
class Bench:
    """The model with its adapter, one View, and what is asked."""

    asked: argparse.Namespace
    lm: LM
    student: Solo
    view: View

    def tuned(self) -> Tensor:
        return self.lm.hidden(self.view)

    def base(self) -> Tensor:
        with torch.no_grad(), self.student.off():
            return self.lm.hidden(self.view)

    def finish(self, loss: Tensor) -> float:
        loss.backward()
        self.student.zero_grad()
        return float(loss.detach())


def made(asked: argparse.Namespace) -> Bench:
    """A random Qwen3 whose adapter has moved, and rows of which the second half is supervised."""
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    config = {
        "hidden_size": asked.hidden,
        "intermediate_size": 3 * asked.hidden,
        "num_hidden_layers": asked.layers,
        "num_attention_heads": asked.hidden // 64,
        "num_key_value_heads": max(1, asked.hidden // 128),
        "head_dim": 64,
        "vocab_size": asked.vocab,
    }
    lm = load(ModelSpec(id="config:qwen3", config=config, dtype=asked.dtype), "cuda" if on_gpu(asked) else "cpu")
    adapter = Lora(r=8, alpha=16).attach(lm, torch_stream(0, "init"))
    adapter.set_state({n: t + 0.02 * torch.randn_like(t) for n, t in adapter.state().items()})
    b, t = asked.rows, asked.length
    ids = torch.randint(4, asked.vocab, (b, t))
    scored = torch.zeros(b, t, dtype=torch.bool)
    scored[:, t // 2 - 1 : -1] = True
    targets = ids[:, 1:][scored[:, :-1]]
    n = len(targets)
    view = View(
        ids, torch.ones(b, t, dtype=torch.bool), scored, targets, torch.ones(n), scored.nonzero()[:, 0],
        scored.sum(1).float(), torch.ones(n, dtype=torch.bool), torch.full((b,), -1), True,
    )  # fmt: skip
    return Bench(asked, lm, Solo(adapter), view.to(lm.device))


Step = Callable[[], float]


def ours(bench: Bench, *, term: bool, cached: bool) -> Step:
    """netgain's objective; with `cached` the base is remembered."""
    parts = {"ce": Weighted(term=Ce())}
    if term:
        parts["anchor"] = Weighted(term=TERMS[bench.asked.divergence](), weight=WEIGHT)
    objective = Objective([parts])
    active = objective.active([0.0])
    tokens: Selection = select(bench.view, ["all"], 0, 0)
    read = base_reference(bench.student)

    @torch.no_grad()
    def remembered() -> Reading:
        reading = read(bench.view)
        if bench.asked.divergence != "forward" or reading.hidden is None:
            return reading
        mean, constant, _ = soft_statistic(reading.hidden, reading.head, bench.lm.head, bench.asked.chunk)
        return Reading(None, reading.head, mean, constant)

    kept = {"base": remembered()} if term and cached else {}

    def step() -> float:
        with torch.no_grad():
            references = kept or ({"base": read(bench.view)} if term else {})
        loss = objective(
            active, bench.student.states(bench.view), bench.lm.head, bench.view.targets, tokens,
            references=references, chunk=bench.asked.chunk,
        )  # fmt: skip
        return bench.finish(loss.arms.sum())

    return step


def divergence(kind: str, zs: Tensor, zt: Tensor) -> Tensor:
    """(...) from full logits (..., V), as one writes it."""
    q, p = F.log_softmax(zs.float(), -1), F.log_softmax(zt.float(), -1)
    if kind == "forward":
        return F.kl_div(q, p, reduction="none", log_target=True).sum(-1)
    if kind == "reverse":
        return F.kl_div(p, q, reduction="none", log_target=True).sum(-1)
    m = torch.logsumexp(torch.stack([q, p]), 0) - torch.log(torch.tensor(2.0))
    both = (F.kl_div(m, x, reduction="none", log_target=True).sum(-1) for x in (q, p))
    return 0.5 * sum(both, torch.zeros(()))


def naive(bench: Bench) -> Step:
    """As trainers write it (HF's loss for causal models, TRL's GKD): the logits of both models and every softmax at
    every position, then the mask."""
    scored = bench.view.scored
    labels = torch.full(scored.shape, -100, device=scored.device)
    labels[scored] = bench.view.targets

    def step() -> float:
        zs, zt = bench.lm.head.logits(bench.tuned()), bench.lm.head.logits(bench.base())
        ce = F.cross_entropy(zs.float().flatten(0, 1), labels.flatten(), ignore_index=-100)
        apart = divergence(bench.asked.divergence, zs, zt)
        return bench.finish(ce + WEIGHT * (apart * scored).sum() / scored.sum())

    return step


def naive_supervised(bench: Bench) -> Step:
    """The same of the supervised positions only, for somebody who thought of it."""

    def step() -> float:
        scored = bench.view.scored
        zs, zt = (bench.lm.head.logits(states[scored]) for states in (bench.tuned(), bench.base()))
        ce = F.cross_entropy(zs.float(), bench.view.targets)
        return bench.finish(ce + WEIGHT * divergence(bench.asked.divergence, zs, zt).mean())

    return step


def body(bench: Bench) -> Step:
    """The tuned body forward and backward, without a head."""
    return lambda: bench.finish(bench.tuned()[bench.view.scored].sum())


def naive_plain(bench: Bench) -> Step:
    """Cross-entropy of the supervised positions of full logits: faster than HF's own, which takes every position."""

    def step() -> float:
        z = bench.lm.head.logits(bench.tuned())[bench.view.scored]
        return bench.finish(F.cross_entropy(z.float(), bench.view.targets))

    return step


def trl_plain(bench: Bench) -> Step:
    """TRL's chunked log-probabilities alone."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction  # pyright: ignore[reportMissingImports]

    def step() -> float:
        h, w, y = bench.tuned()[bench.view.scored], bench.lm.head.weight, bench.view.targets
        logp: Any = ChunkedLogProbFunction.apply(h, w, None, y, 1.0, 32768, None, 1.0, ("log_probs",))
        return bench.finish(-logp[0].mean())

    return step


def trl(bench: Bench) -> Step:
    """TRL's chunked log-probabilities and divergence, on the supervised positions."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction  # pyright: ignore[reportMissingImports]
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction  # pyright: ignore[reportMissingImports]

    beta = BETA[bench.asked.divergence]

    def step() -> float:
        h, t, w = bench.tuned()[bench.view.scored], bench.base()[bench.view.scored], bench.lm.head.weight
        y = bench.view.targets
        logp: Any = ChunkedLogProbFunction.apply(h, w, None, y, 1.0, 32768, None, 1.0, ("log_probs",))
        apart: Any = ChunkedDivergenceFunction.apply(h, w, None, t, w, None, beta)
        return bench.finish(WEIGHT * apart[0].mean() - logp[0].mean())

    return step


def liger(bench: Bench) -> Step:
    """Liger's chunked head and Jensen-Shannon loss without compilation; it needs the head's weight to have a place
    for a gradient."""
    from liger_kernel.chunked_loss.jsd_loss import (  # pyright: ignore[reportMissingImports]
        LigerFusedLinearJSDFunction,
    )

    beta = BETA[bench.asked.divergence]

    def step() -> float:
        h, t, w = bench.tuned()[bench.view.scored], bench.base()[bench.view.scored], bench.lm.head.weight
        args = (h, w, t, w, bench.view.targets, None, None, 1.0, WEIGHT, beta, -100, 1.0, False, bench.asked.chunk)
        loss: Any = LigerFusedLinearJSDFunction.apply(*args)
        return bench.finish(loss)

    return step


def liger_plain(bench: Bench) -> Step:
    """Liger's Triton kernel for a head with cross-entropy."""
    from liger_kernel.transformers.functional import (  # pyright: ignore[reportMissingImports]
        liger_fused_linear_cross_entropy,
    )

    def step() -> float:
        h = bench.tuned()[bench.view.scored]
        return bench.finish(liger_fused_linear_cross_entropy(h, bench.lm.head.weight, bench.view.targets))

    return step


PEERS: tuple[tuple[str, str, Callable[[Bench], Step]], ...] = (
    ("trl", "trl", trl), ("trl plain", "trl", trl_plain), ("liger", "liger_kernel", liger),
    ("liger plain", "liger_kernel", liger_plain),
)  # fmt: skip
PLAIN = ("naive plain", "trl plain", "liger plain")


def variants(bench: Bench, only: str = "") -> dict[str, Step]:
    """Everything that can be measured here; with `only`, nothing that another variant would have to prepare."""
    found = {
        "ours": ours(bench, term=True, cached=False),
        "ours plain": ours(bench, term=False, cached=False),
        "naive": naive(bench),
        "naive supervised": naive_supervised(bench),
        "naive plain": naive_plain(bench),
    }
    if only == "body":
        found["body"] = body(bench)
    if only in ("", "ours cached"):
        found["ours cached"] = ours(bench, term=True, cached=True)
    for name, package, build in () if only else PEERS:
        if name == "liger plain" and not on_gpu(bench.asked):
            continue
        if not importlib.util.find_spec(package):
            print(f"{name}: not installed beside netgain, so it is not measured", flush=True)
            continue
        try:
            found[name] = build(bench)
            found[name]()
        except Exception as error:  # another's code on this machine: the others can be compared without it
            found.pop(name, None)
            print(f"{name}: does not run here ({type(error).__name__}: {error})", flush=True)
    return found


@dataclass(frozen=True)
class Turns:
    """Of each variant, a number a round: seconds, and seconds of processor time; and the loss that each computes."""

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]
    losses: dict[str, float]

    def ratios(self, one: str, other: str, *, cpu: bool = False) -> list[float]:
        """Taken within a round, so that both sides saw the same machine."""
        times = self.cpu if cpu else self.wall
        return [a / b for a, b in zip(times[one], times[other], strict=True)]


def interleaved(steps: dict[str, Step], rounds: int) -> Turns:
    """Each variant in turn, after one turn that warms up."""
    losses = {name: step() for name, step in steps.items()}
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start, used = time.perf_counter(), time.process_time()
            step()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - used)
    return Turns(wall, cpu, losses)


def peak(name: str, asked: argparse.Namespace) -> float:
    """MB above the loaded model that two steps of one variant reach; run in a process of its own."""
    bench = made(asked)
    before = peak_mb(on_gpu(asked))
    step = variants(bench, name)[name]
    step()
    step()
    return peak_mb(on_gpu(asked)) - before


def peaks(names: list[str], asked: argparse.Namespace) -> dict[str, float]:
    """Each variant's peak, one process after the other."""
    return {name: in_process(peak, name, asked) for name in names}


def floor(asked: argparse.Namespace, lm: LM) -> tuple[float, float]:
    """Seconds of the step's matrix products at the rate of this machine (body forward and backward to the adapters,
    the head's two), and of reading each weight for each of them once at the rate of a copy."""
    tokens, scored = asked.rows * asked.length, asked.rows * (asked.length // 2)
    body = sum(p.numel() for name, p in lm.net.named_parameters() if p.dim() == 2 and "embed" not in name)
    head = 4 * scored * asked.vocab * asked.hidden / gemm_rate(512, asked.hidden, asked.vocab, lm.head.weight)
    products = head + 4 * tokens * body / gemm_rate(tokens, asked.hidden, 3 * asked.hidden, lm.head.weight)
    read = 2 * (body + lm.head.weight.numel()) * lm.head.weight.element_size()
    return products, read / copy_rate(lm.head.weight.device.type)


def claims(asked: argparse.Namespace, bench: Bench, turns: Turns, pair: Turns, peak: dict[str, float]) -> None:
    """Say what the targets are about; `pair` are the rounds of ours with the term and without."""
    kind = f"CE + {WEIGHT} {asked.divergence}, V = {asked.vocab:,}, {asked.rows} x {asked.length}, {asked.dtype}"
    times, (products, read) = turns.wall, floor(asked, bench.lm)
    seconds = statistics.median(times["ours cached"])
    took = (
        f"{seconds:.3g} s, {seconds / products:.2g}x its matrix products at this machine's rate ({products:.3g} s) and "
        f"{seconds / read:.2g}x reading the weights once for each ({read:.3g} s)"
    )

    def say(other: str, words: str, target: float | None, drawn: str = "", turns: Turns = turns) -> None:
        ratios = turns.ratios("ours cached", other)
        limit = f"{statistics.median(turns.ratios('ours cached', other, cpu=True)):.3g}x in processor time; {took}"
        ours_mb, theirs_mb = peak.get("ours cached"), peak.get(other)
        agree = f"losses {turns.losses['ours cached']:.5f} and {turns.losses[other]:.5f}"
        what = f"{kind}: against {words}"
        Claim("linear_loss.py", what, ratios, target, "x", ours_mb, theirs_mb, limit, agree, drawn).say()

    name = {"forward": "KL", "reverse": "reverse KL", "js": "Jensen-Shannon"}[asked.divergence]
    short = "fp32" if asked.dtype == "float32" else "bf16"
    say("naive", "full logits", TARGETS[asked.divergence], f"SFT step with {name} to the base, {short}: full logits")
    say("naive supervised", "full logits of the scored positions", None)
    forward = asked.divergence == "forward"
    for name in ("trl", "liger"):
        if name in times:
            drawn = f"SFT step with KL to the base, {short}: TRL's chunks" if forward and name == "trl" else ""
            say(name, name, 0.20 if forward and name == "trl" else None, drawn)
    if forward:
        plain = min((n for n in PLAIN if n in times), key=lambda n: statistics.median(times[n]))
        drawn = f"SFT step with KL, {short}: the fastest peer's step without KL"
        say(plain, f"the fastest plain CE of a peer ({plain})", 1.0, drawn)
        say("ours plain", "ours without the term", 1.05, turns=pair)


def memory_claim(asked: argparse.Namespace, peak: dict[str, float]) -> None:
    """The one about extra memory."""
    shape = f"V = {asked.vocab:,}, {asked.rows} x {asked.length}, {asked.dtype}"
    what = f"CE + {WEIGHT} {asked.divergence}, {shape}: memory above the model, against full logits"
    target = 0.05 if asked.divergence == "forward" else None
    ours, theirs = max(peak["ours cached"], 0.0), peak["naive"]
    logits = 4 * asked.vocab * min(asked.chunk, asked.rows * asked.length // 2) / 2**20
    limit = f"the body alone takes {peak['body']:.0f} MB, a chunk of {asked.chunk} rows of logits {logits:.0f} MB"
    drawn = "SFT step with KL, fp32, memory: full logits" if asked.divergence == "forward" else ""
    Claim("linear_loss.py", what, [ours / theirs], target, "x", ours, theirs, limit, drawn=drawn).say()


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that this bench and bench/anchor.py share."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--divergence", choices=sorted(TERMS), default="forward")
    for name, value in (("rows", 2), ("length", 512), ("hidden", 512), ("layers", 4), ("vocab", 151_936),
                        ("chunk", 256), ("rounds", 3), ("threads", 2)):  # fmt: skip
        made.add_argument(f"--{name}", type=int, default=value)
    made.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    made.add_argument("--gpu", action="store_true", help="on a GPU, bfloat16, 4 rows, as wide as Qwen3-1.7B")
    made.add_argument("--toy", action="store_true", help="toy shapes on the CPU, to see that nothing breaks")
    return made


def asked_of(made: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; --gpu stands for the shape of a larger model, --toy for none, unless they are told otherwise."""
    if "--gpu" in sys.argv:
        made.set_defaults(dtype="bfloat16", hidden=2048, rows=4)
    if "--toy" in sys.argv:
        made.set_defaults(hidden=128, layers=2, vocab=2000, rows=2, length=32, chunk=16, threads=1)
    return made.parse_args()


def on_gpu(asked: argparse.Namespace) -> bool:
    """Whether there is a GPU at work; toy shapes take the same way on a CPU."""
    return asked.gpu and not asked.toy


def agreed(asked: argparse.Namespace, losses: dict[str, float]) -> None:
    """Stop when a variant has computed another loss than full logits do; the sides with a term, and those without."""
    close = 2e-4 if asked.dtype == "float32" else 2e-2
    for name, loss in losses.items():
        right = losses["naive plain" if "plain" in name else "naive"]
        if name == "liger":
            continue  # it averages otherwise: told, not compared
        if abs(loss - right) > close * max(abs(right), 1.0):
            sys.exit(f"{name}: its loss is {loss:.6f}, and full logits give {right:.6f}")


def main() -> None:
    """Print one line of JSON."""
    arguments = parser(__doc__)
    arguments.add_argument("--no-memory", action="store_true", help="skip the peaks, which take a process a variant")
    arguments.add_argument("--memory", action="store_true", help="measure the peaks alone")
    asked = asked_of(arguments)
    if asked.memory:
        memory_claim(asked, peaks(["ours cached", "naive", "body"], asked))
        return
    bench = made(asked)
    steps = variants(bench)
    turns = interleaved(steps, asked.rounds)
    pair = interleaved({name: steps[name] for name in ("ours cached", "ours plain")}, 3 * asked.rounds)
    medians = {name: statistics.median(values) for name, values in turns.wall.items()}
    result: dict[str, Any] = {
        "divergence": asked.divergence,
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "ours/other": {name: round(statistics.median(turns.ratios("ours cached", name)), 3) for name in medians},
        "target ours/naive": TARGETS[asked.divergence],
        "loss": {name: round(value, 5) for name, value in turns.losses.items()},
    }
    peak: dict[str, float] = {}
    if not asked.no_memory:
        peak = peaks(["ours cached", "naive"], asked)
        result["peak MB"] = {name: round(value) for name, value in peak.items()}
    print(json.dumps(result), flush=True)
    agreed(asked, turns.losses)
    claims(asked, bench, turns, pair, peak)


if __name__ == "__main__":
    main()
