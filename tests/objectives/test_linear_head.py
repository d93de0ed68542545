"""The head is never materialised, and every engine gives the loss and the gradient of the plain formula."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from netgain.models.lm import Head
from netgain.objectives.linear import TILE_WORDS, Engine, chunked_terms, expected_row, logsumexp_head, soft_target_loss

torch.set_num_threads(1)
N, H, V = 23, 16, 301
ENGINES: list[tuple[Engine, int | None]] = [("flash", None), ("tiled", None), ("tiled", 5), ("tiled", 64)]


def drawn(dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, H, generator=generator, dtype=torch.float64).to(dtype)
    teacher = torch.randn(N, H, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(V, H, generator=generator, dtype=torch.float64).to(dtype)
    return hidden, teacher, weight, torch.randint(V, (N,), generator=generator)


def gradient(loss: Tensor, hidden: Tensor) -> Tensor:
    return torch.autograd.grad(loss, hidden)[0]


class Largest(TorchDispatchMode):
    """Records the largest tensor that any operator makes, and the operators."""

    numel = 0

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.called.add(func.overloadpacket.__name__)
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


@pytest.mark.parametrize(("engine", "chunk"), ENGINES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_cross_entropy_equals_torch(engine: Engine, chunk: int | None, dtype: torch.dtype, tolerance: float) -> None:
    hidden, _, weight, targets = drawn(dtype)
    hidden.requires_grad_()
    ours = soft_target_loss(hidden, Head(weight), targets, 1.0, chunk=chunk, engine=engine)
    theirs = F.cross_entropy(hidden @ weight.T, targets, reduction="none")
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() <= tolerance * scale
    expected = gradient(theirs.mean(), hidden)
    assert (gradient(ours.mean(), hidden) - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(("engine", "chunk"), ENGINES)
def test_bfloat16_is_as_close_to_the_truth_as_bfloat16_logits_are(engine: Engine, chunk: int | None) -> None:
    hidden, _, weight, targets = drawn(torch.bfloat16)
    exact = hidden.double().requires_grad_()
    truth = F.cross_entropy(exact @ weight.double().T, targets)
    naive = hidden.clone().requires_grad_()
    rounded = F.cross_entropy((naive @ weight.T).float(), targets)
    ours = hidden.clone().requires_grad_()
    loss = soft_target_loss(ours.float(), Head(weight), targets, 1.0, chunk=chunk, engine=engine).mean()
    reference = gradient(truth, exact)
    error = (gradient(loss, ours).double() - reference).norm() / reference.norm()
    naive_error = (gradient(rounded, naive).double() - reference).norm() / reference.norm()
    value, naive_value, exact_value = float(loss.detach()), float(rounded.detach()), float(truth.detach())
    assert abs(value - exact_value) <= max(2 * abs(naive_value - exact_value), 5e-3)
    assert error <= 1.5 * naive_error


@pytest.mark.parametrize(("engine", "chunk"), ENGINES)
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.7), (0.0, 1.0), (0.25, 3.0)])
def test_the_statistic_of_h_plus_one_numbers_is_the_full_kl(
    engine: Engine, chunk: int | None, a: float, b: float
) -> None:
    hidden, teacher, weight, targets = drawn(torch.float64)
    hidden.requires_grad_()
    lse, mu = expected_row(teacher, Head(weight), chunk, engine)
    c = (teacher * mu).sum(-1) - lse
    ours = soft_target_loss(hidden, Head(weight), targets, a, b, mu, c, chunk=chunk, engine=engine)
    logits = hidden @ weight.T
    p = (teacher @ weight.T).log_softmax(-1)
    kl = F.kl_div(logits.log_softmax(-1), p, reduction="none", log_target=True).sum(-1)
    full = a * F.cross_entropy(logits, targets, reduction="none") + b * kl
    assert torch.allclose(ours, full, rtol=1e-11, atol=1e-11)
    assert torch.allclose(gradient(ours.sum(), hidden), gradient(full.sum(), hidden), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("engine", ["flash", "tiled"])
def test_the_custom_gradient_passes_gradcheck(engine: Engine) -> None:
    hidden, _, weight, _ = drawn(torch.float64)
    head = Head(weight, scale=0.7)
    assert torch.autograd.gradcheck(
        lambda h: logsumexp_head(h, head, 4, engine), (hidden[:6].clone().requires_grad_(),), fast_mode=False
    )


@pytest.mark.parametrize(("engine", "chunk"), [("flash", None), ("tiled", 8)])
def test_no_tensor_has_a_row_for_every_token_and_a_column_for_every_word(engine: Engine, chunk: int | None) -> None:
    n, h, v = 128, 8, 32_000
    hidden, weight = torch.randn(n, h, requires_grad=True), torch.randn(v, h)
    with Largest() as largest:
        logsumexp_head(hidden, Head(weight), chunk, engine).sum().backward()
    assert largest.numel < n * v / 4


@pytest.mark.parametrize(("dtype", "flash"), [(torch.float32, True), (torch.bfloat16, False)])
def test_on_a_cpu_a_bfloat16_head_is_read_in_tiles_and_no_other(dtype: torch.dtype, flash: bool) -> None:
    hidden, weight = torch.randn(64, 8, requires_grad=True), torch.randn(20_000, 8, dtype=dtype)
    with Largest() as largest:
        logsumexp_head(hidden, Head(weight), 256).sum().backward()
    assert ("_scaled_dot_product_flash_attention_for_cpu" in largest.called) == flash
    assert largest.numel <= max(weight.numel(), len(hidden) * TILE_WORDS)


def test_the_generic_engine_holds_a_chunk_of_logits_at_most() -> None:
    n, h, v = 128, 8, 32_000
    hidden, weight = torch.randn(1, n, h, requires_grad=True), torch.randn(v, h)

    def entropy(states: Tensor, head: Head, part: slice) -> Tensor:
        logp = head.logits(states).log_softmax(-1)
        return (logp.exp() * logp).sum((-1, -2))[None]

    with Largest() as largest:
        loss, _ = chunked_terms(hidden, Head(weight), entropy, torch.ones(1, 1), 8)
        loss.sum().backward()
    assert largest.numel <= 8 * v
