"""The loop is plain PEFT and torch, step for step; and what it computed yesterday for each family it computes today."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import get_scheduler

from netgain.adapters.full import Full
from netgain.adapters.lora import Lora
from netgain.data.view import View
from netgain.models.lm import LM
from netgain.spec.identity import torch_stream
from netgain.spec.run import Runtime
from netgain.training.loop import Training, train

torch.set_num_threads(1)
GOLDEN = Path(__file__).parent / "golden_losses.json"
STEPS = 20


def by_hand(
    net: nn.Module, views: Callable[[int], View], schedule: str, clip: float
) -> tuple[list[float], list[float]]:
    """(losses, gradient norms) of what a person would write."""
    learned = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=5e-3, weight_decay=0.01)
    rates = get_scheduler(schedule, optimizer, num_warmup_steps=3, num_training_steps=STEPS)
    losses, norms = [], []
    for k in range(STEPS):
        view = views(k)
        logits: Tensor = net(input_ids=view.input_ids, attention_mask=view.attention_mask.long()).logits
        loss = nn.functional.cross_entropy(logits[view.scored], view.targets)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(learned, clip)))
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, norms


def by_netgain(training: Training) -> tuple[list[float], list[float]]:
    steps = [record.arms[0] for record in train(training)]
    return [s.loss for s in steps if s], [s.grad_norm for s in steps if s]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("schedule", ["constant_with_warmup", "linear", "cosine"])
def test_lora_is_plain_peft(
    make: Callable[..., Training], model: Callable[..., LM], family: str, schedule: str
) -> None:
    ours = make(
        model(family), Lora(r=4, alpha=8), steps=STEPS, warmup=3, schedule=schedule.split("_")[0], clip=0.1,
        weight_decay=0.01, runtime=Runtime(micro_batch=3),
    )  # fmt: skip
    plain = model(family).net
    with torch.random.fork_rng():
        torch.set_rng_state(torch_stream(0, "init").get_state())
        config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", fan_in_fan_out=family == "gpt2")
        peft: Any = get_peft_model(plain, config).eval()
    losses, norms = by_hand(peft, ours.views, schedule, clip=0.1)
    our_losses, our_norms = by_netgain(ours)
    assert our_losses == pytest.approx(losses, rel=1e-5)
    assert our_norms == pytest.approx(norms, rel=1e-4)
    theirs = {n.replace(".default", ""): p for n, p in peft.named_parameters() if p.requires_grad}
    for name, tensor in ours.arms[0].adapter.parameters().items():
        assert (tensor - theirs[name]).norm() <= 1e-4 * theirs[name].norm(), name


def test_full_fine_tuning_is_plain_torch(make: Callable[..., Training], model: Callable[..., LM]) -> None:
    ours = make(model(), Full(), steps=STEPS, warmup=3, weight_decay=0.01)
    losses, norms = by_hand(model().net.requires_grad_(True), ours.views, "cosine", clip=1.0)
    our_losses, our_norms = by_netgain(ours)
    assert our_losses == pytest.approx(losses, rel=1e-5)
    assert our_norms == pytest.approx(norms, rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "gemma3"])
def test_five_golden_steps(make: Callable[..., Training], model: Callable[..., LM], family: str) -> None:
    losses, _ = by_netgain(make(model(family), Lora(r=4, alpha=8, dropout=0.1), steps=5, learning_rate=1e-2))
    assert losses == pytest.approx(json.loads(GOLDEN.read_text(encoding="utf-8"))[family], rel=1e-5)
