"""Stitching: exact where the target computes a rotated copy, aligned by characters, measured on held-out text."""

from pathlib import Path

import numpy as np
import pytest
import torch

from netgain.adapters._torch.peft import from_folder
from netgain.adapters.lora import Lora
from netgain.data.embedded import rows
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.run import ModelSpec
from netgain.translate.files import Adapter, Place, write
from netgain.translate.free import without_anchors
from netgain.translate.gauge import Update
from netgain.translate.names import generic_texts
from netgain.translate.stitch import Moments, align, fit, stitch, subspace


@pytest.fixture(scope="module")
def llama() -> LM:
    torch.set_num_threads(1)
    return load(ModelSpec(id="tiny-llama"))


@pytest.fixture(scope="module")
def gpt2() -> LM:
    return load(ModelSpec(id="tiny-gpt2"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [f"{row.turns[0].text} {row.answer}" if row.turns else row.answer for row in rows("text", 24, 9)]


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    found = Moments.empty(x.shape[1], y.shape[1])
    found.add(x, y)
    return found


@pytest.mark.parametrize("kind", ["ridge", "procrustes"])
def test_a_rotation_is_found(kind: str) -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    x = rng.standard_normal((400, 6)) + 3.0
    found = fit(moments(x[:300], x[:300] @ rotation + 1.0), moments(x[300:], x[300:] @ rotation + 1.0), kind)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.linear, rotation, atol=2e-3)
    assert found.explained > 0.999


def test_unrelated_sides_explain_nothing() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((400, 6)), rng.standard_normal((400, 5))
    assert fit(moments(x[:300], y[:300]), moments(x[300:], y[300:]), "ridge").explained < 0.05


def test_explained_variance_is_that_of_the_residuals() -> None:
    rng = np.random.default_rng(2)
    x, y, linear = rng.standard_normal((50, 4)), rng.standard_normal((50, 3)), rng.standard_normal((4, 3))
    cx, cy = x - x.mean(0), y - y.mean(0)
    expected = 1 - ((cy - cx @ linear) ** 2).sum() / (cy**2).sum()
    assert moments(x, y).explained(linear) == pytest.approx(expected)


def test_a_model_stitched_onto_itself_keeps_its_update(llama: LM, texts: list[str]) -> None:
    name = "model.layers.1.self_attn.q_proj"
    rng = np.random.default_rng(3)
    layer = llama.net.get_submodule(name)
    update = Update(
        rng.standard_normal((layer.out_features, 2)).astype(np.float32),  # type: ignore[arg-type]
        rng.standard_normal((2, layer.in_features)).astype(np.float32),  # type: ignore[arg-type]
    )
    place = Place.of(name)
    found = next(stitch(llama, llama, {place: ((place,), update)}, texts))
    assert found.inputs > 0.999
    assert found.outputs > 0.999
    gap = np.linalg.norm(found.update.dense() - update.dense()) / np.linalg.norm(update.dense())
    assert gap < 0.05


def test_a_rotated_copy_gets_the_rotated_update() -> None:
    rng = np.random.default_rng(4)
    turn_in, turn_out = (np.linalg.qr(rng.standard_normal((8, 8)))[0] for _ in range(2))
    weight = rng.standard_normal((8, 8))
    x = rng.standard_normal((600, 8))
    update = Update(rng.standard_normal((8, 2)), rng.standard_normal((2, 8)))
    into = fit(moments(x[:500] @ turn_in, x[:500]), moments(x[500:] @ turn_in, x[500:]), "ridge")
    o = x @ weight.T
    out = fit(moments(o[:500], o[:500] @ turn_out), moments(o[500:], o[500:] @ turn_out), "ridge")
    found = (out.linear.T @ update.b) @ (update.a @ into.linear.T)
    np.testing.assert_allclose(found, turn_out.T @ update.dense() @ turn_in, atol=2e-2)


def rotated(lm: LM) -> tuple[LM, torch.Tensor]:
    """The same function with its residual stream in another basis, h' = h Q, and Q: the gains of the norms go into the
    layers behind them, every layer that reads the stream gets W Q, every one that writes it Q' W."""
    copy = load(ModelSpec(id="tiny-llama"))
    net = copy.net
    width = net.config.hidden_size
    turn = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(5)))[0]
    with torch.no_grad():
        net.model.embed_tokens.weight.copy_(lm.net.model.embed_tokens.weight @ turn)
        for layer in net.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for norm, readers in (
                (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
            ):
                for reader in readers:
                    reader.weight.copy_((reader.weight * norm.weight) @ turn)
                norm.weight.fill_(1.0)
            for writer in (attention.o_proj, mlp.down_proj):
                writer.weight.copy_(turn.T @ writer.weight)
    return copy, turn


def stream(lm: LM, ids: torch.Tensor) -> torch.Tensor:
    """The residual stream behind the last layer, (T, H)."""
    seen: list[torch.Tensor] = []
    handle = lm.net.model.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        lm.hidden(ids)
    handle.remove()
    return seen[0][0]


def test_a_rotated_copy_with_the_stitched_adapter_computes_what_the_source_does_with_its_own(
    llama: LM, tmp_path: Path
) -> None:
    copy, turn = rotated(llama)
    ids = torch.arange(5, 60)[None]
    plain = stream(llama, ids)
    torch.testing.assert_close(stream(copy, ids), plain @ turn, rtol=1e-3, atol=1e-3)
    generator = torch.Generator().manual_seed(6)
    wide = {n: m.weight.detach() for n, m in llama.net.named_modules() if n.endswith(("gate_proj", "up_proj"))}
    own = Lora(r=4, alpha=8, targets="all-linear").attach(llama, generator)
    drawn = {n: 0.05 * torch.randn(t.shape, generator=generator) for n, t in own.state().items()}
    for name, tensor in drawn.items():
        place = name.removeprefix("base_model.model.").removesuffix(".lora_B.weight")
        if place in wide:  # text says nothing of directions that a layer never writes, so the update stays in its range
            drawn[name] = wide[place] @ torch.linalg.lstsq(wide[place], tensor).solution
    assert sum("mlp" in name for name in drawn) == 2 * 3 * llama.net.config.num_hidden_layers
    own.set_state(drawn)
    own.save(tmp_path / "own")
    moved = stream(llama, ids)
    own.remove()
    found = without_anchors("stitch", Adapter(tmp_path / "own"), llama, copy, generic_texts()[:60])
    write(tmp_path / "found", found.config, found.updates)
    from_folder(copy, tmp_path / "found")
    gap = (stream(copy, ids) - moved @ turn).norm() / (moved - plain).norm()
    assert gap < 0.02


def test_an_adapter_of_split_layers_is_stitched_into_fused_ones(llama: LM, gpt2: LM, tmp_path: Path) -> None:
    own = Lora(r=2, alpha=4).attach(llama, torch.Generator().manual_seed(7))
    own.save(tmp_path / "own")
    own.remove()
    for method in ("stitch", "subspace"):
        found = without_anchors(method, Adapter(tmp_path / "own"), llama, gpt2, generic_texts()[:12])
        write(tmp_path / method, found.config, found.updates)
        adapter = from_folder(gpt2, tmp_path / method)
        assert {update.rank for _, update in found.updates} == {2}
        assert len(found.updates) == 4 * gpt2.net.config.n_layer
        adapter.remove()


def test_methods_without_anchors_do_not_see_the_gauge(llama: LM, gpt2: LM, texts: list[str]) -> None:
    rng = np.random.default_rng(8)
    source, target = Place.of("model.layers.2.mlp.up_proj"), Place.of("transformer.h.2.mlp.c_fc")
    ours, theirs = (lm.net.get_submodule(at.name).weight for lm, at in ((llama, source), (gpt2, target)))
    one = Update(rng.standard_normal((len(ours), 3)), rng.standard_normal((3, ours.shape[1])))
    change = rng.standard_normal((3, 3)) + 2 * np.eye(3)
    two = Update(one.b @ change, np.linalg.inv(change) @ one.a)

    def stitched(update: Update) -> np.ndarray:
        return next(stitch(llama, gpt2, {target: ((source,), update)}, texts[:12], rank=2)).update.dense()

    def projected(update: Update) -> np.ndarray:
        return subspace(ours.detach().numpy(), theirs.detach().numpy().T, update, 32).dense()

    for made in (stitched, projected):
        np.testing.assert_allclose(made(one), made(two), atol=1e-4 * float(np.abs(made(one)).max()))


def test_tokens_are_paired_where_they_end_at_the_same_character(llama: LM, gpt2: LM) -> None:
    text = "Lily went to the park and saw a big red ball."
    pairs = align(llama, gpt2, text)
    assert len(pairs.positions) > 0
    for i, j in pairs.positions:
        left = str(llama.tok.decode(pairs.source[0, 1 : i + 1].tolist())).strip()
        right = str(gpt2.tok.decode(pairs.target[0, 1 : j + 1].tolist())).strip()
        assert left == right


def test_a_subspace_projection_onto_the_whole_space_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((7, 5))
    update = Update(rng.standard_normal((7, 2)), rng.standard_normal((2, 5)))
    np.testing.assert_allclose(subspace(weight, weight, update, 5).b.shape, (7, 2))
    projected = subspace(weight, weight, update, 5).dense()
    u = np.linalg.svd(weight, full_matrices=False)[0]
    np.testing.assert_allclose(projected, u @ u.T @ update.dense(), atol=1e-9)
