"""Random models from a config, with a byte-level tokenizer made on the spot: any family, no download, milliseconds."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from netgain.errors import UserError, did_you_mean

DECODER: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
ENCODER: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
MASKED = {"bert": "BertForMaskedLM", "roberta": "RobertaForMaskedLM", "modernbert": "ModernBertForMaskedLM"}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", DECODER),
    "qwen2": ("qwen2", {name: value for name, value in DECODER.items() if name != "head_dim"}),
    "llama": ("llama", DECODER),
    "gemma3": ("gemma3_text", {**DECODER, "sliding_window": 128, "query_pre_attn_scalar": 16}),
    "gpt2": ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512}),
    "bert": ("bert", ENCODER),
    "roberta": ("roberta", {**ENCODER, "max_position_embeddings": 514}),
    "modernbert": ("modernbert", {**ENCODER, "local_attention": 128}),
}
SPECIAL = ("<pad>", "<bos>", "<eos>", "<mask>")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Four special tokens, then one token for each of the 256 bytes: every text has ids, and comes back unchanged."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *alphabet))}
    core = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        mask_token="<mask>",
        clean_up_tokenization_spaces=False,
    )


def architectures(family: str) -> list[str]:
    """What the config of a masked family says it is."""
    return [MASKED[family]] if family in MASKED else []


def build(family: str, overrides: dict[str, Any]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A random model of a family; `overrides` sets fields of its config, and `seed` its weights."""
    if family not in FAMILIES:
        known = tuple(FAMILIES)
        raise UserError(f"config:{family}: no such family.{did_you_mean(family, known)} They are {', '.join(known)}.")
    tok = byte_tokenizer()
    kind, defaults = FAMILIES[family]
    fields = {name: value for name, value in overrides.items() if name != "seed"}
    ids = {"pad_token_id": tok.pad_token_id, "bos_token_id": tok.bos_token_id, "eos_token_id": tok.eos_token_id}
    blank = AutoConfig.for_model(kind)
    for name in fields:
        if not hasattr(blank, name):
            raise UserError(f'model.config: {kind} has no field "{name}".{did_you_mean(name, set(blank.to_dict()))}')
    config = AutoConfig.for_model(kind, **{"vocab_size": len(tok), **ids, **defaults, **fields})
    kind_of = AutoModelForMaskedLM if family in MASKED else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(overrides.get("seed", 0)))
        net = kind_of.from_config(config, dtype=torch.float32)
    if family in MASKED:
        net.config.architectures = architectures(family)
    return net, tok
