"""Which mixture of the anchors' target adapters a source adapter asks for.

An anchor is a pair (x_i, y_i): one task's adapter on the source and on the target model. Every method here answers with
weights w over the N anchors, and the translated adapter is sum_i w_i y_i, tensor by tensor. So a method needs only the
N x N inner products of the updates, never their millions of numbers, and none depends on how a factor pair is written.

    mean            w = 1/N
    ridge           w = 1/N + C a, a = (K_c + lam I)^-1 k_c with K_c = C K C centred, k_c = C (k* - K 1/N)
    top-k ridge     the same on the k anchors whose centred updates have the largest cosine with x*
    pca             ridge between the d leading principal scores of both sides
    procrustes      a rotation and a scale between those scores
    mlp             a small network between those scores
A `global` method sees one Gram matrix, the sum over all tensors; a `per_tensor` method sees each tensor's own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.spec.translation import MIXING

PATH = np.logspace(-4, 4, 20)
"""Regularisation, in units of the mean eigenvalue of the centred Gram matrix."""


@dataclass(frozen=True)
class Grams:
    """Inner products of one tensor, or summed over all: source anchors x (N, N), target anchors y (N, N), and of the
    anchors with the adapter to be translated (N,), whose own squared length is `own`."""

    x: np.ndarray
    y: np.ndarray
    cross: np.ndarray
    own: float

    @property
    def n(self) -> int:
        """N."""
        return len(self.x)

    def subset(self, chosen: np.ndarray) -> "Grams":
        """The same without the other anchors."""
        pick = np.ix_(chosen, chosen)
        return Grams(self.x[pick], self.y[pick], self.cross[chosen], self.own)

    def left_out(self, i: int) -> "Grams":
        """Anchor i as the adapter to be translated by the others."""
        others = np.delete(np.arange(self.n), i)
        return Grams(
            self.x[np.ix_(others, others)], self.y[np.ix_(others, others)], self.x[others, i], float(self.x[i, i])
        )


def total(grams: list[Grams]) -> Grams:
    """The inner products of whole adapters: sums over their tensors."""
    return Grams(
        np.sum([g.x for g in grams], axis=0),
        np.sum([g.y for g in grams], axis=0),
        np.sum([g.cross for g in grams], axis=0),
        sum(g.own for g in grams),
    )


def centre(gram: np.ndarray) -> np.ndarray:
    """C K C with C = I - 11'/N."""
    return gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()


def centred_cross(grams: Grams) -> np.ndarray:
    """<x_i - mean x, x* - mean x>, (N,)."""
    moved = grams.cross - grams.x.mean(1)
    return moved - moved.mean()


# ---- ridge and its whole path


@dataclass(frozen=True)
class Path:
    """Ridge for every value of `lams` from one eigendecomposition."""

    lams: np.ndarray
    values: np.ndarray  # (N,), eigenvalues of K_c
    vectors: np.ndarray  # (N, N)
    cross: np.ndarray  # (N,), k_c

    def weights(self, lam: float) -> np.ndarray:
        """w (N,), which sum to 1."""
        alpha = self.vectors @ ((self.vectors.T @ self.cross) / (self.values + lam))
        return 1 / len(alpha) + alpha - alpha.mean()

    def hat(self, lam: float) -> np.ndarray:
        """H (N, N): row i mixes the anchors into the fit of anchor i."""
        smooth = (self.vectors * (self.values / (self.values + lam))) @ self.vectors.T
        return smooth + 1 / len(smooth)

    def left_out(self, lam: float) -> np.ndarray:
        """(N, N): row i holds the weights of the others when anchor i is left out of the fit, exactly:
        H_ij / (1 - H_ii)."""
        hat = self.hat(lam)
        free = 1 - np.diag(hat)
        mixed = hat / free[:, None]
        np.fill_diagonal(mixed, 0.0)
        return mixed


def ridge_path(grams: Grams, lams: np.ndarray = PATH) -> Path:
    """The ridge solutions for all of `lams`, which are in units of the mean eigenvalue."""
    values, vectors = np.linalg.eigh(centre(grams.x))
    values = values.clip(0)
    unit = float(values.sum()) / max(grams.n - 1, 1)
    if unit == 0:
        raise UserError("the source adapters of all anchors are the same update, so nothing can be learned from them.")
    return Path(lams * unit, values, vectors, centred_cross(grams))


def left_out_errors(path: Path, gram_y: np.ndarray) -> np.ndarray:
    """sum_i ||y_i - sum_j w_ij y_j||^2 over the anchors, for each value of the path, from y's Gram matrix alone."""
    errors = []
    for lam in path.lams:
        gap = np.eye(len(gram_y)) - path.left_out(lam)
        errors.append(float(np.einsum("ij,jk,ik->", gap, gram_y, gap)))
    return np.array(errors)


def choose(path: Path, gram_y: np.ndarray, loss: Callable[[np.ndarray], float] | None = None) -> float:
    """The value of the path whose left-out anchors come out best.

    `loss` takes the (N, N) left-out weights and gives, say, the translated adapters' loss on held-out prompts; without
    it the squared error of the updates counts.
    """
    if loss is None:
        return float(path.lams[int(left_out_errors(path, gram_y).argmin())])
    return float(path.lams[int(np.argmin([loss(path.left_out(lam)) for lam in path.lams]))])


# ---- the methods: Grams -> weights (N,)


def mean(grams: Grams) -> np.ndarray:
    """1/N each: what every other method must beat."""
    return np.full(grams.n, 1 / grams.n)


def random(grams: Grams, rng: np.random.Generator) -> np.ndarray:
    """One anchor, drawn blindly: a control."""
    weights = np.zeros(grams.n)
    weights[rng.integers(grams.n)] = 1.0
    return weights


def ridge(grams: Grams) -> np.ndarray:
    """Ridge with its strength chosen by leaving anchors out."""
    path = ridge_path(grams)
    return path.weights(choose(path, grams.y))


def cosines(grams: Grams) -> np.ndarray:
    """cos(x_i - mean x, x* - mean x), (N,)."""
    lengths = np.sqrt(np.diag(centre(grams.x)).clip(0))
    own = np.sqrt(max(grams.own - 2 * grams.cross.mean() + grams.x.mean(), 0.0))
    scale = lengths * own
    return np.divide(centred_cross(grams), scale, out=np.zeros(grams.n), where=scale > 0)


def nearest(grams: Grams, k: int) -> np.ndarray:
    """The indices of the k anchors most like x*, by centred cosine."""
    return np.sort(np.argsort(-cosines(grams), kind="stable")[:k])


def top_k_ridge(grams: Grams, k: int, chosen: np.ndarray | None = None) -> np.ndarray:
    """Ridge on the k nearest anchors, or on `chosen`; the others weigh 0."""
    chosen = nearest(grams, min(k, grams.n)) if chosen is None else chosen
    weights = np.zeros(grams.n)
    weights[chosen] = ridge(grams.subset(chosen)) if len(chosen) > 2 else 1 / len(chosen)
    return weights


# ---- methods between principal scores


@dataclass(frozen=True)
class Scores:
    """Principal scores of the anchors, x (N, d) and y (N, d), of the adapter to be translated (d,), and `back` (N, d),
    which turns scores of y into weights over centred anchors."""

    x: np.ndarray
    y: np.ndarray
    star: np.ndarray
    back: np.ndarray

    def mix(self, predicted: np.ndarray) -> np.ndarray:
        """Weights (N,) of the target whose scores are `predicted`: 1/N + C back s."""
        alpha = self.back @ predicted
        return 1 / len(alpha) + alpha - alpha.mean()


def scores(grams: Grams, dimensions: int) -> Scores:
    """The leading principal scores of both sides, which are all that the Gram matrices know."""
    x_values, x_vectors = _leading(centre(grams.x), dimensions)
    y_values, y_vectors = _leading(centre(grams.y), dimensions)
    star = (x_vectors / np.sqrt(x_values)).T @ centred_cross(grams)
    return Scores(x_vectors * np.sqrt(x_values), y_vectors * np.sqrt(y_values), star, y_vectors / np.sqrt(y_values))


def _leading(gram: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, falling, and their vectors; directions that are rounding are left out."""
    values, vectors = np.linalg.eigh(gram)
    kept = [i for i in np.argsort(-values)[:dimensions] if values[i] > 1e-9 * values.max()]
    if not kept:
        raise UserError("all anchors are the same update, so there is no principal direction.")
    return values[kept], vectors[:, kept]


def pca(grams: Grams, dimensions: int = 8) -> np.ndarray:
    """Ridge from the leading scores of x to those of y; its strength by leaving anchors out."""
    found = scores(grams, dimensions)
    low = Grams(found.x @ found.x.T, found.y @ found.y.T, found.x @ found.star, float(found.star @ found.star))
    path = ridge_path(low)
    mixed = path.weights(choose(path, low.y))
    return found.mix(found.y.T @ mixed)


def procrustes(grams: Grams, dimensions: int = 8) -> np.ndarray:
    """s R with R orthogonal, the best rotation and scale from scores of x to scores of y."""
    found = scores(grams, dimensions)
    width = min(found.x.shape[1], found.y.shape[1])
    x, y = found.x[:, :width], found.y[:, :width]
    u, s, vt = np.linalg.svd(x.T @ y)
    predicted = np.zeros(found.y.shape[1])
    predicted[:width] = float(s.sum() / (x**2).sum()) * (found.star[:width] @ u @ vt)
    return found.mix(predicted)


def mlp(grams: Grams, seed: int, dimensions: int = 8, width: int = 16, steps: int = 300) -> np.ndarray:
    """A network with one hidden layer between the scores, trained by Adam with weight decay on N pairs."""
    import torch

    found = scores(grams, dimensions)
    spread_x, spread_y = found.x.std(0), found.y.std(0)
    x = torch.tensor(found.x / spread_x)
    y = torch.tensor(found.y / spread_y)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], width), torch.nn.Tanh(), torch.nn.Linear(width, y.shape[1])
        ).double()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        predicted = net(torch.tensor(found.star / spread_x)).numpy() * spread_y
    return found.mix(predicted)


# ---- ridge before its strength is chosen


@dataclass(frozen=True)
class Ridges:
    """A ridge method at every strength: the anchors that it mixes, of N, and the path of each tensor over them."""

    chosen: np.ndarray
    n: int
    paths: tuple[Path, ...]

    @property
    def count(self) -> int:
        """How many strengths there are."""
        return len(self.paths[0].lams)

    def weights(self, at: int) -> np.ndarray:
        """(T, N) at one strength."""
        return self._whole([path.weights(path.lams[at]) for path in self.paths])

    def left_out(self, at: int, anchor: int) -> np.ndarray:
        """(T, N) with which the others translate one of the chosen anchors."""
        row = int(np.flatnonzero(self.chosen == anchor)[0])
        return self._whole([path.left_out(path.lams[at])[row] for path in self.paths])

    def _whole(self, rows: list[np.ndarray]) -> np.ndarray:
        found = np.zeros((len(rows), self.n))
        found[:, self.chosen] = rows
        return found


def ridges(method: str, grams: list[Grams], k: int) -> Ridges:
    """One of the four ridge methods, its strength still open; strengths are relative to each tensor's own spread."""
    n = grams[0].n
    chosen = nearest(total(grams), min(k, n)) if method.startswith("topk") else np.arange(n)
    if len(chosen) < 3:
        raise UserError(f"{method}: {len(chosen)} anchors are too few to leave one out; give at least 3.")
    each = [total(grams)] * len(grams) if "global" in method else grams
    return Ridges(chosen, n, tuple(ridge_path(gram.subset(chosen)) for gram in each))


# ---- by name


def weights(method: str, grams: list[Grams], *, seed: int = 0, k: int = 8) -> np.ndarray:
    """(T, N): the weights of a method for each of the T target tensors."""
    count = len(grams)
    match method:
        case "zero":
            return np.zeros((count, grams[0].n))
        case "mean":
            return np.tile(mean(grams[0]), (count, 1))
        case "random":
            return np.tile(random(grams[0], np.random.default_rng(seed)), (count, 1))
        case "global_ridge":
            return np.tile(ridge(total(grams)), (count, 1))
        case "topk_global_ridge":
            return np.tile(top_k_ridge(total(grams), k), (count, 1))
        case "pertensor_ridge":
            return np.stack([ridge(each) for each in grams])
        case "topk_pertensor_ridge":
            chosen = nearest(total(grams), min(k, grams[0].n))
            return np.stack([top_k_ridge(each, k, chosen) for each in grams])
        case "pertensor_pca":
            return np.stack([pca(each) for each in grams])
        case "pertensor_procrustes":
            return np.stack([procrustes(each) for each in grams])
        case "pertensor_mlp":
            return np.stack([mlp(each, seed) for each in grams])
    raise UserError(f'"{method}" is no method that mixes anchors; they are {", ".join(MIXING)}.')


def left_out(method: str, grams: list[Grams], *, seed: int = 0, k: int = 8) -> np.ndarray:
    """||y_i - y^_i||^2 over all tensors, (N,), where y^_i is anchor i translated by the other anchors alone."""
    errors = np.zeros(grams[0].n)
    for i in range(len(errors)):
        others = np.delete(np.arange(len(errors)), i)
        for each, row in zip(grams, weights(method, [g.left_out(i) for g in grams], seed=seed, k=k), strict=True):
            gap = np.zeros(len(errors))
            gap[i], gap[others] = 1.0, -row
            errors[i] += gap @ each.y @ gap
    return errors
