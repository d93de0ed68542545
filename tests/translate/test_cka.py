"""Layers that compute alike are found, whatever the basis and scale they compute in."""

import numpy as np
import pytest
import torch

from netgain.models.load import load
from netgain.spec.run import ModelSpec
from netgain.translate.cka import _rising, cka, similar_layers
from netgain.translate.files import Place
from netgain.translate.names import generic_texts


def test_similarity_sees_neither_rotation_nor_scale_nor_shift() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))
    turn = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    assert cka(x, 3.0 * x @ turn + 5.0) == pytest.approx(1.0)
    assert cka(x, rng.standard_normal((60, 8))) < 0.5


def test_the_best_match_never_turns_back() -> None:
    similar = np.array([[0.9, 0.2, 0.1, 0.1], [0.1, 0.1, 0.9, 0.1], [0.1, 0.9, 0.2, 0.1], [0.1, 0.1, 0.1, 0.5]])
    assert _rising(similar) == [0, 2, 2, 3]


def test_the_layers_of_a_model_are_most_like_themselves() -> None:
    torch.set_num_threads(1)
    lm = load(ModelSpec(id="tiny-llama"))
    places = [Place.of(f"model.layers.{i}.self_attn.q_proj") for i in range(4)]
    assert similar_layers(lm, places, lm, places, generic_texts()) == {i: i for i in range(4)}
