"""A translated adapter taught a little more: what the source model with its own adapter writes, learned by the target.

No label and no row of the held-out problem's answers is read: the source answers prompts, and its answers are what the
target learns from, as text, so the two need not share a tokenizer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netgain.adapters.method import Adapter
from netgain.data.chat import Template
from netgain.data.order import Order
from netgain.data.source import Example
from netgain.data.view import View
from netgain.errors import UserError
from netgain.models.generate import generate
from netgain.models.lm import LM
from netgain.objectives.terms.ce import Ce
from netgain.spec.identity import stream, torch_stream
from netgain.spec.run import OptimSpec, Runtime, Weighted
from netgain.spec.translation import Distil
from netgain.training.arms import Arm, Solo
from netgain.training.loop import Training, train

UNLIMITED = 2**31


def answered(source: LM, template: Template, asked: Sequence[Example], plan: Distil) -> list[Example]:
    """The same prompts with what `source` writes to them, greedily; those that it leaves empty or unfinished fall."""
    prompts = [template.prompt(example.turns) for example in asked]
    written = generate(source, prompts, max_new_tokens=plan.max_new_tokens, stop_ids=template.stop_ids)
    return [
        replace(example, answer=text)
        for example, each in zip(asked, written, strict=True)
        if (text := each.text.strip()) and not each.truncated
    ]


def teach(
    adapter: Adapter, template: Template, rows: Sequence[Example], plan: Distil, seed: int, runtime: Runtime
) -> dict[str, Any]:
    """Take the plan's steps on these rows; how many rows they were, and the first and last loss."""
    if not rows:
        raise UserError(
            f"distil: the source finished none of its answers within {plan.max_new_tokens} tokens; raise "
            "distil.max_new_tokens."
        )
    lm = adapter.lm
    encoded = template.encode_all(rows, lm.max_positions or UNLIMITED, "left").rows
    lengths = [len(row.ids) for row in encoded]
    order = Order(len(encoded), plan.batch, int(stream(seed, "distil/order").integers(2**63)))

    def views(step: int) -> View:
        chosen = order.step(step, lengths)
        return lm.family.view([encoded[i] for i in chosen], lm.pad_id, torch_stream(seed, f"distil/{step}"), chosen)

    optim = OptimSpec(learning_rate=plan.learning_rate, steps=plan.steps, batch=plan.batch, schedule="linear")
    arm = Arm("distil", adapter, {"ce": Weighted(term=Ce())}, optim)
    losses = [step.arms[0].loss for step in train(Training(Solo(adapter), [arm], views, seed, runtime)) if step.arms[0]]
    return {"rows": len(encoded), "steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1]}
