"""Pretrain an embedded tiny model from scratch: `python tools/train_embedded.py --model tiny-llama`.

Everything it learns from is generated (embedded_episodes.py) and every random number comes from the seed, so a bare
clone and one processor core reproduce it. It writes the model folder (float16 weights, tokenizer) and prints what
embedded_measure.py finds.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

sys.path.insert(0, str(Path(__file__).parent))
import embedded_measure as measure
from embedded_episodes import PROMPT_WEIGHT, Episodes, Sequence, batches, byte_pair_tokenizer, word_piece_tokenizer

FOLDER = Path(__file__).parent.parent / "src" / "netgain" / "models" / "embedded"
WIDTH, LAYERS, HEADS, POSITIONS = 128, 4, 4, 512
MASKED_LAYERS = 2
STEPS = {"tiny-llama": 3600, "tiny-gpt2": 3600, "tiny-mlm": 1500}
BATCH_TOKENS, MASKED_TOKENS = 2048, 1280
WARMUP, PEAK, MUON, FLOOR = 150, 3e-3, 7.5e-3, 0.02
ANYWHERE, FIRST = 0.3, 0.5
"""The share of rows that hide any token, and the share of the steps before there are such rows."""
MASKED_RATE, MASKED_WARMUP = 0.5, 50
"""tiny-mlm learns at half of these rates, after a shorter warm-up."""
PROBED = ("sentiment", "nli", "paraphrase", "pos", "entities", "qa", "arithmetic")


def tokenizer(model: str) -> PreTrainedTokenizerFast:
    return word_piece_tokenizer(1536) if model == "tiny-mlm" else byte_pair_tokenizer(2048)


def network(model: str, vocab: int) -> PreTrainedModel:
    """A model of 0.6 to 1.1 million random parameters.

    tiny-mlm begins at the scale 1 / sqrt(width): at BERT's own 0.02, meant for a width of 768, so narrow a model does
    not learn to attend within a thousand steps.
    """
    if model == "tiny-llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab,
                hidden_size=WIDTH,
                intermediate_size=288,
                num_hidden_layers=LAYERS,
                num_attention_heads=HEADS,
                num_key_value_heads=HEADS,
                max_position_embeddings=POSITIONS,
                tie_word_embeddings=True,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
        )
    if model == "tiny-gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocab,
                n_embd=WIDTH,
                n_inner=384,
                n_layer=LAYERS,
                n_head=HEADS,
                n_positions=POSITIONS,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
        )
    return BertForMaskedLM(
        BertConfig(
            vocab_size=vocab,
            hidden_size=WIDTH,
            intermediate_size=384,
            num_hidden_layers=MASKED_LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=256,
            initializer_range=WIDTH**-0.5,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=0,
        )
    )


def rate(step: int, steps: int, warmup: int = WARMUP) -> float:
    """The share of the peak rate: linear warm-up to 1, then a cosine down to FLOOR."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def padded(batch: list[Sequence]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, weight, mask), each (B, T), padded to the right with token 0."""
    width = max(len(sequence.ids) for sequence in batch)
    ids, weight = torch.zeros(len(batch), width, dtype=torch.long), torch.zeros(len(batch), width)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for i, sequence in enumerate(batch):
        ids[i, : len(sequence.ids)] = torch.tensor(sequence.ids)
        weight[i, : len(sequence.ids)] = torch.tensor(sequence.weight)
        mask[i, : len(sequence.ids)] = 1
    return ids, weight, mask


def causal_loss(net: PreTrainedModel, batch: list[Sequence]) -> torch.Tensor:
    """sum w_t * -log p(x_t | x_<t) / sum w_t"""
    ids, weight, _ = padded(batch)
    scored = weight[:, 1:] > 0
    hidden = net.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][scored]
    head = net.get_output_embeddings()
    assert head is not None
    losses = F.cross_entropy(head(hidden), ids[:, 1:][scored], reduction="none")
    share = weight[:, 1:][scored]
    return (losses * share).sum() / share.sum()


def masked_loss(
    net: PreTrainedModel, batch: list[Sequence], mask_id: int, generator: torch.Generator, share_anywhere: float
) -> torch.Tensor:
    """Mean cross-entropy of hidden tokens: any token at a rate of 10 to 50 %, or answers only at a rate of 50 to 100
    %, where each counts by its weight, so that a label is not drowned by long answers."""
    ids, weight, mask = padded(batch)
    rows = ids.shape[0]
    anywhere = torch.rand(rows, 1, generator=generator) < share_anywhere
    low, high = torch.where(anywhere, 0.1, 0.5), torch.where(anywhere, 0.5, 1.0)
    share = low + (high - low) * torch.rand(rows, 1, generator=generator)
    eligible = (mask == 1) & (anywhere | (weight > PROMPT_WEIGHT))
    eligible[:, 0] = False
    hidden = eligible & (torch.rand(ids.shape, generator=generator) < share)
    fed = torch.where(hidden, torch.tensor(mask_id), ids)
    states = net.base_model(input_ids=fed, attention_mask=mask).last_hidden_state[hidden]
    head = net.get_submodule("cls")
    losses = F.cross_entropy(head(states), ids[hidden], reduction="none")
    counts = torch.where(anywhere, torch.ones_like(weight), weight)[hidden]
    return (losses * counts).sum() / counts.sum().clamp(min=1)


def optimisers(net: PreTrainedModel) -> list[torch.optim.Optimizer]:
    """Muon (Jordan 2024) for the matrices of the blocks, AdamW for the rest: a lower loss after as many steps."""
    embedded = {id(m.weight) for m in net.modules() if isinstance(m, torch.nn.Embedding)}
    inner = [p for p in net.parameters() if p.ndim == 2 and id(p) not in embedded]
    taken = {id(p) for p in inner}
    rest = [p for p in net.parameters() if id(p) not in taken]
    adam = [{"params": rest, "peak": PEAK, "weight_decay": 0.01}]
    muon = [{"params": inner, "peak": MUON, "weight_decay": 0.05}]
    return [
        torch.optim.AdamW(adam, lr=PEAK, betas=(0.9, 0.98)),
        torch.optim.Muon(muon, lr=MUON, adjust_lr_fn="match_rms_adamw"),
    ]


def glance(net: PreTrainedModel, tok: PreTrainedTokenizerFast, masked: bool) -> str:
    """A quick look during training: few rows, for the log only."""
    net.eval()
    if masked:
        found, baseline = measure.masked_accuracy(net, tok, 50)
        line = f"masked {found:.3f} (unigram {baseline:.3f})"
    else:
        pairs = ((s, measure.accuracy(net, tok, s, 0, 60), measure.accuracy(net, tok, s, 6, 60)) for s in PROBED)
        line = " ".join(f"{s} {zero.accuracy:.2f}>{few.accuracy:.2f}" for s, zero, few in pairs)
    net.train()
    return line


def train(model: str, steps: int, seed: int, out: Path, look: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.PCG64(seed))
    generator = torch.Generator().manual_seed(seed)
    masked = model == "tiny-mlm"
    tok = tokenizer(model)
    net = network(model, len(tok))
    print(f"{model}: {sum(p.numel() for p in net.parameters()):,} parameters, {len(tok)} tokens", flush=True)
    episodes = Episodes(tok, 256 if masked else 448, 0 if masked else 8, masked)
    stream = batches(episodes, MASKED_TOKENS if masked else BATCH_TOKENS, rng)
    labels = batches(Episodes(tok, 256, 0, masked, first=True), MASKED_TOKENS, rng) if masked else stream
    share, warmup = (MASKED_RATE, MASKED_WARMUP) if masked else (1.0, WARMUP)
    descents = optimisers(net)
    net.train()
    began, total = time.monotonic(), 0.0
    for step in range(steps):
        first = masked and step < FIRST * steps
        batch = next(labels if first else stream)
        loss = (
            masked_loss(net, batch, tok.get_vocab()[str(tok.mask_token)], generator, 0.0 if first else ANYWHERE)
            if masked
            else causal_loss(net, batch)
        )
        net.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for descent in descents:
            for group in descent.param_groups:
                group["lr"] = group["peak"] * rate(step, steps, warmup) * share
            descent.step()
        total += loss.item()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} loss {total / 100:.4f} {time.monotonic() - began:.0f} s", flush=True)
            total = 0.0
        if (step + 1) % look == 0:
            print(glance(net, tok, masked), flush=True)
            save(net, tok, out)
    save(net, tok, out)
    describe(model, out)


def describe(model: str, out: Path) -> None:
    """The model card, README.md of the folder, with what the saved weights measure."""
    kind = BertForMaskedLM if model == "tiny-mlm" else AutoModelForCausalLM
    net = kind.from_pretrained(out, dtype=torch.float32).eval()
    tok = PreTrainedTokenizerFast.from_pretrained(out)
    card = measure.masked_card(net, tok) if model == "tiny-mlm" else measure.causal_card(model, net, tok)
    (out / "README.md").write_text(card, encoding="utf-8")
    print(card)


def save(net: PreTrainedModel, tok: PreTrainedTokenizerFast, out: Path) -> None:
    """The model folder, weights in float16."""
    state = {name: tensor.detach().half().contiguous() for name, tensor in net.state_dict().items()}
    net.save_pretrained(out, state_dict=state)
    tok.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(STEPS), required=True)
    parser.add_argument(
        "--steps", type=int, help="optimiser steps (default: what the committed weights were made with)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="model folder (default: the package's own)")
    parser.add_argument("--look", type=int, default=500, help="steps between looks at what it can do, and saves")
    parser.add_argument("--card", action="store_true", help="only measure the saved model again and write its card")
    given = parser.parse_args()
    out = given.out or FOLDER / given.model
    if given.card:
        torch.set_num_threads(1)
        describe(given.model, out)
    else:
        train(given.model, given.steps or STEPS[given.model], given.seed, out, given.look)


if __name__ == "__main__":
    main()
