"""A netgain objective inside somebody else's loop: `transformers.Trainer`, `trl.SFTTrainer` and what derives from them.

    from netgain.training.trainers import use
    trainer = SFTTrainer(model, train_dataset=rows, peft_config=LoraConfig(...))
    use(trainer, {"ce": "ce", "anchor": {"term": {"kind": "kl", "reference": "base"}, "weight": 0.1}})

The trainer keeps its data, optimiser, schedule and checkpoints; its loss becomes sum_i w_i sum_n term_i / D_i, with D
the number of learned tokens of the whole optimiser step, however it is accumulated.
"""

from collections.abc import Mapping
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer

from netgain.data.view import View
from netgain.errors import UserError
from netgain.models import causal
from netgain.models.lm import LM
from netgain.objectives.objective import Objective, needs
from netgain.objectives.selection import Selected, select
from netgain.objectives.term import Reading
from netgain.spec.run import BASE, Learned, Tokens, Weighted

IGNORED = -100


def use(
    trainer: Trainer, objective: Mapping[str, Any], references: Mapping[str, PreTrainedModel] | None = None
) -> "Bridge":
    """Make a trainer minimise an objective, written as in a study file. `references` are the models that its terms
    name; "base" is the trainer's own without its adapters. What each term was is in the bridge's `last`."""
    made = Bridge(trainer, objective, references or {})
    trainer.compute_loss = made.compute_loss
    trainer.loss_is_scaled_for_ga = True
    return made


class Bridge:
    """The loss of one trainer."""

    def __init__(
        self, trainer: Trainer, objective: Mapping[str, Any], references: Mapping[str, PreTrainedModel]
    ) -> None:
        self.trainer = trainer
        weighted = {name: Weighted.model_validate(each) for name, each in objective.items()}
        self.objective = Objective([weighted])
        model = trainer.model
        if trainer.accelerator.num_processes > 1:
            raise UserError("a netgain objective in another trainer learns on one process; use `netgain run` for more.")
        if self.objective.rollouts or any(isinstance(each.weight, Learned) for each in weighted.values()):
            raise UserError("terms of sampled answers and learned weights need netgain's own loop; leave them out.")
        self.peft = model if isinstance(model, PeftModel) else None
        net = model if self.peft is None else self.peft.get_base_model()
        assert isinstance(net, PreTrainedModel)
        self.lm = _lm(net)
        self.others = {name: _lm(other.eval()) for name, other in references.items()}
        learned = ((name, p) for name, p in net.named_parameters() if p.requires_grad)
        self.learned: dict[str, Tensor] = {name.replace(".default", ""): p for name, p in learned}
        own = self.learned if self.objective.penalties else {}
        self.initial = {name: p.detach().clone() for name, p in own.items()}
        self.last: dict[str, float] = {}
        self._check(needs(self.objective.active([0.0])))

    def _check(self, wanted: frozenset[str]) -> None:
        for name in sorted(wanted - self.others.keys()):
            if name != BASE:
                raise UserError(
                    f'the objective compares with "{name}"; give its model as references={{"{name}": ...}}.'
                )
            if self.peft is None:
                raise UserError(
                    "only a model with PEFT adapters has a base to compare with; give a copy as a reference."
                )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """What a trainer calls in place of its own."""
        view = _view(inputs)
        state = self.trainer.state
        progress = min(state.global_step / max(1, state.max_steps), 1.0)
        active = self.objective.active([progress])
        kinds: list[Tokens] = [each.part.tokens for each in active]
        parts = self.trainer.current_gradient_accumulation_steps if model.training else 1
        tokens: dict[Tokens, Selected] = {}
        for kind, chosen in select(view, kinds, 0, state.global_step).items():
            tokens[kind] = Selected(chosen.weight, chosen.total * parts)
        if num_items_in_batch is not None and "all" in tokens:
            tokens["all"] = Selected(view.weight, float(num_items_in_batch))
        readings = {name: self._reading(name, view) for name in needs(active)}
        hidden = self.lm.hidden(view)
        found = self.objective(
            active, hidden[view.scored][None], self.lm.head, view.targets, tokens, references=readings
        )
        loss = found.arms.sum()
        self.last = {
            n: float(raw) / total for n, raw, total in zip(found.names, found.raw[:, 0], found.totals, strict=True)
        }
        for each in self.objective.penalised([progress]):
            value = each.part.term.value(self.learned, self.initial)
            loss = loss + each.weights[0] * value / parts
            self.last[each.part.name] = float(value.detach())
        if model.training:
            self.objective.observe(0, self.last)
        return (loss, {"loss": loss, "logits": self.lm.head.logits(hidden)}) if return_outputs else loss

    @torch.no_grad()
    def _reading(self, name: str, view: View) -> Reading:
        if name in self.others:
            other = self.others[name]
            return Reading(other.hidden(view)[view.scored], other.head)
        assert self.peft is not None
        awake = [module for module in self.lm.net.modules() if module.training]
        self.lm.net.eval()
        try:
            with self.peft.disable_adapter():
                return Reading(self.lm.hidden(view)[view.scored], self.lm.head)
        finally:
            for module in awake:
                module.training = True


def _lm(net: PreTrainedModel) -> LM:
    """A network as netgain's objectives see it; nothing of it is frozen or put into another mode."""
    name = str(net.config.name_or_path or type(net).__name__)
    return LM(net, None, name, net.device, causal.frame(net, name), (), 0, None)  # type: ignore[arg-type]


def _view(inputs: Mapping[str, Any]) -> View:
    """A collated batch as a View: what is not IGNORED is predicted by the token before it."""
    if "labels" not in inputs:
        raise UserError("the batch has no labels; let the trainer's collator make them.")
    ids, labels = inputs["input_ids"], inputs["labels"]
    mask = inputs.get("attention_mask")
    scored = torch.zeros_like(ids, dtype=torch.bool)
    scored[:, :-1] = labels[:, 1:] != IGNORED
    targets = labels[:, 1:][scored[:, :-1]]
    return View(
        input_ids=ids,
        attention_mask=torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool(),
        scored=scored,
        targets=targets,
        weight=torch.ones(len(targets), device=ids.device),
        row=scored.nonzero()[:, 0],
        counts=scored.sum(1).float(),
        content=torch.ones_like(targets, dtype=torch.bool),
        origin=torch.full((len(ids),), -1, device=ids.device),
        causal=True,
    )
