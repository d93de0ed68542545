"""lm-evaluation-harness on the model that is loaded: lm-eval asks, netgain's batched scoring and writing answer, and
what lm-eval logs of each document becomes rows of evidence.

Texts become ids as in lm-eval's own wrapper of Hugging Face models, so that the numbers are the same. One thing
differs: what does not fit the model's positions is missing, for the reason "too_long"; lm-eval cuts its beginning.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.interop.lm_eval import Columns, document
from netgain.ledger.items import Item
from netgain.measure.batches import free_memory, in_batches
from netgain.models.generate import Generation, generate
from netgain.models.lm import LM
from netgain.models.score import label_choices
from netgain.tasks._harness import FEWSHOT_SEED, library, no_bars
from netgain.tasks.lm_eval import LmEval

ROOM = 512
"""How many tokens of options are read behind one reading of their prompt."""
WINDOW = 2048
"""How much of a text lm-eval reads at once where a model names no limit."""
BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
BUDGET = 256
"""lm-eval's own budget of a written answer."""
INERT = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0}
"""Settings that change nothing at these values, and cannot be had at others."""

Pair = tuple[tuple[str, str], list[int], list[int]]
"""((context, continuation), ids of the one, ids of the other)."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How an answer is written: what ends it, how long it may be, and how its tokens are drawn."""

    until: tuple[str, ...]
    budget: int
    temperature: float
    top_k: int | None
    top_p: float | None

    @staticmethod
    def of(asked: Mapping[str, Any]) -> "Writing":
        """From a task's generation_kwargs."""
        left = {name: value for name, value in asked.items() if INERT.get(name) != value}
        until = left.pop("until", None) or ()
        budgets = [left.pop(name) for name in BUDGETS if name in left]
        sampled = left.pop("do_sample", None)
        temperature = float(left.pop("temperature", 1.0 if sampled else 0.0) or 0.0)
        made = Writing(
            until=(until,) if isinstance(until, str) else tuple(until),
            budget=int(budgets[0]) if budgets else BUDGET,
            temperature=0.0 if sampled is False else temperature,
            top_k=left.pop("top_k", None),
            top_p=left.pop("top_p", None),
        )
        if left:
            raise UserError(f"lm_eval: generation_kwargs has {', '.join(sorted(left))}, which netgain does not know.")
        return made

    def cut(self, text: str) -> str:
        """The text before the first of the words that end it."""
        for word in filter(None, self.until):
            text = text.split(word)[0]
        return text


class Resident:
    """The part of lm-eval's `TemplateLM` that a model adds to it; `missing` has the context of what has no answer."""

    backend = "causal"

    def __init__(self, lm: LM, batch: int) -> None:
        super().__init__()
        self.lm, self.batch = lm, batch
        self.missing: dict[str, str] = {}
        self.retried: set[str] = set()
        self.written: dict[str, Generation] = {}

    @property
    def eot_token_id(self) -> int:
        return self.lm.eos_ids[0]

    @property
    def prefix_token_id(self) -> int:
        """What stands in front of a text that has nothing in front of it."""
        first = self.lm.tok.bos_token_id
        return first if isinstance(first, int) else self.eot_token_id

    @property
    def max_length(self) -> int:
        return self.lm.max_positions or WINDOW

    @property
    def tokenizer_name(self) -> str:
        return self.lm.name

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Thinking is switched off where the template knows how, as everywhere in netgain."""
        text = self.lm.tok.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            enable_thinking=False,
        )
        assert isinstance(text, str)
        return text

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: object) -> list[int]:
        """As the tokenizer does by itself, but never two tokens that begin a text."""
        if add_special_tokens is None and not string.startswith(str(self.lm.tok.decode([self.prefix_token_id]))):
            return self.lm.tok.encode(string)
        return self.lm.tok.encode(string, add_special_tokens=bool(add_special_tokens))

    def _loglikelihood_tokens(self, requests: Sequence[Pair], **_: object) -> list[tuple[float, bool]]:
        """(log p(continuation | context), whether greedy decoding writes it); options of one context together."""
        groups = _together(requests)
        found: list[tuple[float, bool]] = [(math.nan, False)] * len(requests)

        def run(rows: list[int]) -> list[list[tuple[float, bool]]]:
            prompts = [requests[groups[g][0]][1] for g in rows]
            return label_choices(self.lm, prompts, [[requests[i][2] for i in groups[g]] for g in rows], len(rows))

        lengths = [len(requests[g[0]][1]) + max(len(requests[i][2]) for i in g) - 1 for g in groups]
        named = [requests[g[0]][0][0] or requests[g[0]][0][1] for g in groups]
        for g, answers in self._answers(named, lengths, run):
            for i, answer in zip(groups[g], answers, strict=True):
                found[i] = answer
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """log p of whole texts, in lm-eval's own windows."""
        utils = library("lm_eval.utils")
        pairs: list[Pair] = []
        counts: list[int] = []
        for request in requests:
            text = request.args[0]
            windows = utils.get_rolling_token_windows(
                self.tok_encode(text), self.prefix_token_id, self.max_length, context_len=1
            )
            made = [((text, ""), *utils.make_disjoint_window(window)) for window in windows]
            pairs += made
            counts.append(len(made))
        sums = iter(self._loglikelihood_tokens(pairs))
        return [math.fsum(next(sums)[0] for _ in range(count)) for count in counts]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers, cut before the first word that ends them; a repeated question has random numbers of its own."""
        texts = [""] * len(requests)
        before: Counter[int] = Counter()
        keys: list[str] = []
        for each in requests:
            keys.append(f"{each.task_name}/{each.doc_id}/{before[id(each)]}")
            before[id(each)] += 1
        groups: dict[Writing, list[int]] = {}
        for i, each in enumerate(requests):
            groups.setdefault(Writing.of(each.args[1]), []).append(i)
        for how, group in groups.items():
            named = [requests[i].args[0] for i in group]
            prompts = [self.tok_encode(context) for context in named]
            streams = [int.from_bytes(hashlib.sha256(keys[i].encode()).digest()[:7], "big") for i in group]
            stop = (*self.lm.eos_ids, *self._special(how.until))

            def run(rows: list[int], how=how, prompts=prompts, streams=streams, stop=stop) -> list[Generation]:
                return generate(
                    self.lm,
                    [prompts[k] for k in rows],
                    max_new_tokens=how.budget,
                    stop_ids=stop,
                    until=how.until,
                    temperature=how.temperature,
                    top_k=how.top_k,
                    top_p=how.top_p,
                    generator=torch.Generator().manual_seed(0),
                    streams=[streams[k] for k in rows],
                    batch=len(rows),
                )

            for k, answer in self._answers(named, [len(prompt) + how.budget for prompt in prompts], run):
                texts[group[k]] = how.cut(answer.text)
                self.written[named[k]] = answer
        return texts

    def _special(self, words: Sequence[str]) -> list[int]:
        """The words that are special tokens, which no decoded text shows."""
        tok: Any = self.lm.tok
        known: dict[str, int] = tok.get_added_vocab()
        return [known[word] for word in words if word in known]

    def _answers(
        self, named: Sequence[str], lengths: Sequence[int], run: Callable[[list[int]], Sequence[Any]]
    ) -> Iterator[tuple[int, Any]]:
        """(row, answer) of the rows that have one; of the others the context is noted with a reason."""
        fits = [k for k, length in enumerate(lengths) if length <= self.max_length]
        self.missing |= {named[k]: "too_long" for k in set(range(len(named))) - set(fits)}
        found = in_batches(
            [lengths[k] for k in fits],
            self.batch,
            lambda rows: run([fits[r] for r in rows]),
            release=free_memory,
            progress=lambda done: None,
        )
        for k, answer in zip(fits, found, strict=True):
            if answer.retried:
                self.retried.add(named[k])
            if answer.value is None:
                self.missing[named[k]] = "oom"
            else:
                yield k, answer.value


def _together(requests: Sequence[Pair]) -> list[list[int]]:
    """Neighbours with one context, as far as their continuations have room behind one reading of it."""
    groups: list[list[int]] = []
    used = 0
    for i, (_, context, option) in enumerate(requests):
        if groups and requests[groups[-1][0]][1] == context and used + len(option) <= ROOM:
            groups[-1].append(i)
            used += len(option)
        else:
            groups.append([i])
            used = len(option)
    return groups


def items(
    lm: LM,
    batch: int,
    name: str,
    task: LmEval,
    examples: Sequence[Example],
    folder: Path | None,
    checkpoint: str,
) -> Iterator[Item]:
    """The rows of one task: one a document, filter and metric."""
    if not lm.causal:
        raise UserError(f"{lm.name}: kind lm_eval asks a model that writes in order; leave it out for a masked one.")
    names = task.metric_names(folder)
    chosen: dict[str, dict[int, Example]] = {}
    for example in examples:
        chosen.setdefault(example.meta["leaf"], {})[int(example.meta["document"])] = example
    leaves = {leaf: each for leaf, each in task.leaves(folder).items() if leaf in chosen}
    for leaf in leaves.values():
        leaf.set_fewshot_seed(seed=FEWSHOT_SEED)
    model: Any = type("Netgain", (Resident, library("lm_eval.api.model").TemplateLM), {})(lm, batch)
    with no_bars():
        found = library("lm_eval.evaluator").evaluate(
            model,
            {"tasks": leaves, "groups": {}, "group_map": {}},
            samples={leaf: sorted(documents) for leaf, documents in chosen.items()},
            bootstrap_iters=0,
            apply_chat_template=task.chat,
        )
    for leaf, logged in found["samples"].items():
        for sample in sorted(logged, key=lambda each: each["doc_id"]):
            yield from _rows(model, name, names, chosen[leaf][sample["doc_id"]], sample, checkpoint)


def _rows(
    model: Resident, name: str, names: Mapping[str, str], example: Example, sample: dict[str, Any], checkpoint: str
) -> Iterator[Item]:
    """What one document gave under one filter, as the reader of lm-eval's own sample files understands it."""
    columns = Columns()
    plain = library("lm_eval.utils").handle_non_serializable
    tree = json.loads(json.dumps(sample, default=plain))
    document(tree, name, None, columns, f"{name}, document {example.id}")
    contexts = [part for arguments in sample["arguments"] for part in arguments if isinstance(part, str)]
    reason = next((model.missing[each] for each in contexts if each in model.missing), None)
    written = next((model.written[each] for each in contexts if each in model.written), None)
    read = columns.values
    for k, metric in enumerate(read["metric"]):
        if metric not in names:
            continue
        yield Item(
            task=name,
            metric=names[metric],
            item=example.id,
            checkpoint=checkpoint,
            value=read["value"][k] if reason is None else None,
            reason=read["reason"][k] if reason is None else reason,
            weight=read["weight"][k],
            cluster=example.group,
            label=read["label"][k],
            prediction=read["prediction"][k] if reason is None else None,
            output=read["output"][k] if reason is None else None,
            parsed=read["parsed"][k] if reason is None else None,
            truncated=None if written is None else written.truncated,
            tokens=None if written is None else written.tokens,
            retried=any(each in model.retried for each in contexts),
        )
