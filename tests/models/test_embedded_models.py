"""The embedded models: what their cards claim, measured again on rows that their pretraining never met."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertForMaskedLM,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from netgain.data.chat import Template
from netgain.data.embedded import PRETRAINING_CELLS, rows
from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.models import embedded

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import embedded_episodes
import embedded_measure

CAUSAL = ("tiny-llama", "tiny-gpt2")
GAP = 0.10


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    kind = BertForMaskedLM if name == "tiny-mlm" else AutoModelForCausalLM
    folder = embedded.path(name)
    return kind.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(folder)


def test_measured_rows_lie_outside_the_pretraining_cells() -> None:
    assert not {embedded_measure.ASKED_SEED, embedded_measure.SHOWN_SEED} & set(PRETRAINING_CELLS)


@pytest.mark.parametrize(
    ("name", "kind"), [("tiny-llama", LlamaForCausalLM), ("tiny-gpt2", GPT2LMHeadModel), ("tiny-mlm", BertForMaskedLM)]
)
def test_each_tiny_model_is_small_and_of_its_own_family(name: str, kind: type) -> None:
    net, tok = model(name)
    assert isinstance(net, kind)
    assert 500_000 <= sum(p.numel() for p in net.parameters()) <= 1_300_000
    assert sum(file.stat().st_size for file in embedded.path(name).iterdir()) < 3_000_000
    assert len(tok) == net.get_input_embeddings().weight.shape[0]
    assert "does not know" in embedded.card(name) or "nothing else" in embedded.card(name)


def test_the_causal_models_share_a_tokenizer_and_the_masked_one_has_its_own() -> None:
    llama, gpt2, mlm = (json.loads((embedded.path(n) / "tokenizer.json").read_text()) for n in embedded.TINY)
    assert llama["model"] == gpt2["model"]
    assert mlm["model"]["type"] != llama["model"]["type"]
    tok = model("tiny-llama")[1]
    for text in ("Größe: 12 + 7\n\tüber 猫", "the/DET old/ADJ dog_NOUN"):
        assert tok.decode(tok(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize("chat", [True, False])
def test_a_template_renders_demonstrations_as_pretraining_did(chat: bool) -> None:
    tok = AutoTokenizer.from_pretrained(embedded.path("tiny-llama"))
    shown, query = rows("sentiment", 3, PRETRAINING_CELLS[0])[:2], rows("sentiment", 3, PRETRAINING_CELLS[0])[2]
    template = Template(tok, chat)
    ids = template.prompt(query.turns, shown) + template.answer(query.turns, query.answer, demonstrations=shown)
    if chat:
        pieces = "".join(f"<|user|>{row.turns[0].text}<|assistant|>{row.answer}<eos>" for row in (*shown, query))
    else:
        pieces = "\n\n".join(f"{row.turns[0].text} {row.answer}" for row in (*shown, query)) + "<eos>"
    assert tok.decode(ids) == f"<bos>{pieces}"
    system = template.prompt((Turn("system", "Be brief."), *query.turns))
    assert tok.convert_tokens_to_ids("<|system|>") in system or not chat


def test_pretraining_sequences_are_what_the_template_renders() -> None:
    tok = embedded_episodes.byte_pair_tokenizer(600)
    tok.chat_template = embedded_episodes.CHAT_TEMPLATE
    episodes = embedded_episodes.Episodes(tok, 400, 3, masked=False, pool=20)
    made = [row for seed in PRETRAINING_CELLS for row in rows("nli", 20, seed)]
    for chat in (True, False):
        template = Template(tok, chat)
        sequence = episodes.episode("nli", 0, [3, 41], chat, np.random.default_rng(0))
        assert sequence.ids == template.prompt(made[41].turns, [made[3]]) + template.answer(
            made[41].turns, made[41].answer, demonstrations=[made[3]]
        )
        answered = [i for i, weight in zip(sequence.ids, sequence.weight, strict=True) if weight > 1]
        assert tok.decode(answered, skip_special_tokens=True).split() == [made[3].answer, made[41].answer] or chat


@pytest.mark.parametrize("name", CAUSAL)
def test_demonstrations_are_worth_ten_points_on_two_suites(name: str) -> None:
    """Six demonstrations against none on 300 new rows, default convention; the gap's 95 % interval excludes 0."""
    net, tok = model(name)
    gaps = {}
    for suite in ("pos", "entities"):
        zero = embedded_measure.accuracy(net, tok, suite, 0, 300).accuracy
        few = embedded_measure.accuracy(net, tok, suite, 6, 300).accuracy
        error = math.sqrt((zero * (1 - zero) + few * (1 - few)) / 300)
        gaps[suite] = (few - zero, few - zero - 1.96 * error)
        assert zero < 0.75, f"{suite}: nothing is left for fine-tuning"
    assert all(gap >= GAP and low > 0 for gap, low in gaps.values()), gaps


@pytest.mark.parametrize("name", CAUSAL)
def test_the_causal_models_know_their_language(name: str) -> None:
    text = embedded_measure.text_report(*model(name), n=40)
    assert text["stories"] < 0.3 * text["uniform"]
    assert text["facts"] < 0.3 * text["uniform"]
    assert text["shuffled"] > text["stories"] + 2


def test_the_masked_model_beats_the_unigram_guess() -> None:
    right, usual = embedded_measure.masked_accuracy(*model("tiny-mlm"), n=100)
    assert right > 1.5 * usual


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r'"tiny-lama".*Did you mean "tiny-llama"'):
        embedded.path("tiny-lama")
    with pytest.raises(UserError, match="no model card"):
        embedded.card("smollm2")
