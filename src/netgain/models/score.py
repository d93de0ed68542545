"""Scoring text that is given: the log-probability of each label behind a prompt, and the surprise of documents.

A question with L labels is one row and one forward pass:

    [ prompt | label 1 | label 2 | ... | label L ]

Every label token sees the prompt and its own label, at the positions that it would have alone (a block attention mask).
The head reads only the states that predict a label token. A family that cannot take such a mask gets the prompt once
and the labels behind its cache. Labels may also begin at places inside the text in front of them: each sees what stands
before its own place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from netgain.models.generate import Owners, prefill, together
from netgain.models.lm import LM, Head

CHUNK = 256
"""States whose logits exist at the same time: CHUNK x V numbers."""

Labels = Sequence[list[int]]
Reading = Callable[[Head, Tensor, Tensor, Tensor], Tensor]
"""(head, hidden, source, targets) -> (N, K): what each token adds to the K sums of its label."""
_takes_tree: "WeakKeyDictionary[torch.nn.Module, bool]" = WeakKeyDictionary()


def log_probs(head: Head, hidden: Tensor, source: Tensor, targets: Tensor, chunk: int = CHUNK) -> Tensor:
    """(M, H) states -> (N,) log p(targets[n] | hidden[source[n]]), with the logits of `chunk` states at a time.

    `source` (N,) is ascending, so that the targets of a chunk lie side by side.
    """
    return _read(head, hidden, source, targets, chunk, misses=False)[:, 0]


def _read(
    head: Head, hidden: Tensor, source: Tensor, targets: Tensor, chunk: int = CHUNK, misses: bool = True
) -> Tensor:
    """(N, 2): log p of each target, and 1 where another token is likelier; (N, 1) without `misses`."""
    found = torch.empty(len(targets), 1 + misses, dtype=torch.float32, device=hidden.device)
    for start in range(0, len(hidden), chunk):
        first, last = torch.searchsorted(source, torch.tensor([start, start + chunk], device=source.device)).tolist()
        logits = head.logits(hidden[start : start + chunk]).float()
        at = source[first:last] - start
        found[first:last, 0] = logits[at, targets[first:last]] - logits.logsumexp(-1)[at]
        if misses:
            found[first:last, 1] = (logits.argmax(-1)[at] != targets[first:last]).float()
    return found


def _only_log_probs(head: Head, hidden: Tensor, source: Tensor, targets: Tensor) -> Tensor:
    return log_probs(head, hidden, source, targets)[:, None]


@torch.no_grad()
def label_logprobs(
    lm: LM, prompts: Sequence[list[int]], labels_ids: Sequence[Labels], batch: int, owners: Owners | None = None
) -> list[list[float]]:
    """For each prompt, sum_t log p(label_t | prompt, label_<t) of each of its labels; `batch` prompts a pass."""
    return placed_logprobs(lm, prompts, labels_ids, _behind(prompts, labels_ids), batch, owners)


@torch.no_grad()
def label_choices(
    lm: LM, prompts: Sequence[list[int]], labels_ids: Sequence[Labels], batch: int
) -> list[list[tuple[float, bool]]]:
    """`label_logprobs`, and whether each label is what greedy decoding would write."""
    sums = _placed(lm, prompts, labels_ids, _behind(prompts, labels_ids), batch, None, _read)
    return [[(logprob, misses == 0) for logprob, misses in each] for each in sums]


def _behind(prompts: Sequence[list[int]], labels_ids: Sequence[Labels]) -> list[list[int]]:
    """The places of labels that all stand behind their whole prompt."""
    return [[len(prompt)] * len(labels) for prompt, labels in zip(prompts, labels_ids, strict=True)]


@torch.no_grad()
def placed_logprobs(
    lm: LM,
    texts: Sequence[list[int]],
    labels_ids: Sequence[Labels],
    places: Sequence[Sequence[int]],
    batch: int,
    owners: Owners | None = None,
) -> list[list[float]]:
    """For each text, sum_t log p(label_t | text_<place, label_<t) of each label at its own place; `batch` texts a pass.

    A place is how many tokens of the text stand before the label, at least one.
    """
    sums = _placed(lm, texts, labels_ids, places, batch, owners, _only_log_probs)
    return [[logprob for (logprob,) in each] for each in sums]


def _placed(
    lm: LM,
    texts: Sequence[list[int]],
    labels_ids: Sequence[Labels],
    places: Sequence[Sequence[int]],
    batch: int,
    owners: Owners | None,
    read: Reading,
) -> list[list[list[float]]]:
    """For each label of each text the K sums of what is read at its tokens."""
    if any(not 0 < place <= len(text) for text, each in zip(texts, places, strict=True) for place in each):
        raise ValueError("a label stands behind at least one token of its text")
    if any(not label for labels in labels_ids for label in labels):
        raise ValueError("a label has at least one token")
    order = sorted(range(len(texts)), key=lambda i: -_tree_length(texts[i], labels_ids[i]))
    found: dict[int, list[list[float]]] = {}
    for start in range(0, len(order), batch):
        rows = together(order[start : start + batch], owners)
        asked, labels, at = [texts[i] for i in rows], [labels_ids[i] for i in rows], [places[i] for i in rows]
        own = None if owners is None else owners.take(rows)
        width = max(_tree_length(text, each) for text, each in zip(asked, labels, strict=True))
        score = _tree if takes_tree(lm, own) and width <= _window(lm) else _one_place_a_row
        found.update(zip(rows, score(lm, asked, labels, at, own, read), strict=True))
    return [found[i] for i in range(len(texts))]


def takes_tree(lm: LM, owners: Owners | None = None) -> bool:
    """Whether this network honours a block mask and given positions, found out once by comparing it with the cache."""
    if lm.net not in _takes_tree:
        prompt, labels = [1, 2, 3], [[4, 5, 6], [5, 4]]
        own = None if owners is None else owners.take([0])
        _takes_tree[lm.net] = lm.takes_positions and torch.allclose(
            torch.tensor(_tree(lm, [prompt], [labels], [[3, 2]], own, _only_log_probs)[0]),
            torch.tensor(_one_place_a_row(lm, [prompt], [labels], [[3, 2]], own, _only_log_probs)[0]),
            rtol=1e-4 if lm.dtype == torch.float32 else 2e-2,
        )
    return _takes_tree[lm.net]


def _window(lm: LM) -> float:
    """How many tokens the shortest sliding attention reaches back; a row no longer than that is all within reach."""
    config = lm.net.config.get_text_config()
    return getattr(config, "sliding_window", None) or float("inf")


def _tree_length(text: list[int], labels: Labels) -> int:
    return len(text) + sum(len(label) - 1 for label in labels)


@dataclass(frozen=True, slots=True)
class _Tree:
    """B rows of T tokens; `scored` (M,) flat places of the states that predict, ascending; the rest has N entries."""

    ids: Tensor  # (B, T)
    positions: Tensor  # (B, T)
    mask: Tensor  # (B, 1, T, T) bool
    scored: Tensor  # (M,)
    source: Tensor  # (N,) which of the M states predicts
    targets: Tensor  # (N,) what it predicts
    owner: Tensor  # (N,) the label, counted over all rows, that this token belongs to


def _plant(lm: LM, texts: Sequence[list[int]], labels: Sequence[Labels], places: Sequence[Sequence[int]]) -> _Tree:
    length = max(_tree_length(text, each) for text, each in zip(texts, labels, strict=True))
    ids = torch.full((len(texts), length), lm.pad_id, dtype=torch.long)
    positions = torch.zeros(len(texts), length, dtype=torch.long)
    branch = torch.full((len(texts), length), -1, dtype=torch.long)  # 0 the text, 1.. a label, -1 padding
    reach = torch.full((len(texts), length), length, dtype=torch.long)  # how much of the text a token sees
    entries: list[tuple[int, int, int]] = []  # (flat place of the state, target, owner)
    owner = 0
    for i, (text, each) in enumerate(zip(texts, labels, strict=True)):
        at = len(text)
        ids[i, :at], positions[i, :at], branch[i, :at] = torch.tensor(text), torch.arange(at), 0
        for k, (label, n) in enumerate(zip(each, places[i], strict=True)):
            inner = len(label) - 1
            ids[i, at : at + inner] = torch.tensor(label[:-1], dtype=torch.long)
            positions[i, at : at + inner] = torch.arange(n, n + inner)
            branch[i, at : at + inner], reach[i, at : at + inner] = k + 1, n
            states = [n - 1, *range(at, at + inner)]
            entries += [(i * length + state, token, owner) for state, token in zip(states, label, strict=True)]
            at, owner = at + inner, owner + 1
    entries.sort()
    flat, targets, owners = (torch.tensor(column) for column in zip(*entries, strict=True))
    scored, source = flat.unique_consecutive(return_inverse=True)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    before = (branch[:, None, :] == 0) & (torch.arange(length) < reach[:, :, None])
    same = before | (branch[:, None, :] == branch[:, :, None])
    mask = (causal & same)[:, None]
    moved = [t.to(lm.device) for t in (ids, positions, mask, scored, source, targets, owners)]
    return _Tree(*moved)


def _tree(
    lm: LM,
    texts: Sequence[list[int]],
    labels: Sequence[Labels],
    places: Sequence[Sequence[int]],
    owners: Owners | None,
    read: Reading,
) -> list[list[list[float]]]:
    tree = _plant(lm, texts, labels, places)
    if owners is not None:
        owners.announce()
    hidden = lm.hidden(tree.ids, tree.mask, tree.positions).flatten(0, 1)[tree.scored]
    return _summed(labels, tree.owner, read(lm.head, hidden, tree.source, tree.targets))


def _summed(labels: Sequence[Labels], owner: Tensor, scores: Tensor) -> list[list[list[float]]]:
    """(N, K) token scores to K sums for each label of each prompt."""
    sums = torch.zeros(sum(map(len, labels)), scores.shape[1], dtype=torch.float64, device=scores.device)
    flat = iter(sums.index_add_(0, owner, scores.double()).tolist())
    return [[next(flat) for _ in each] for each in labels]


def _one_place_a_row(
    lm: LM,
    texts: Sequence[list[int]],
    labels: Sequence[Labels],
    places: Sequence[Sequence[int]],
    owners: Owners | None,
    read: Reading,
) -> list[list[list[float]]]:
    """Every place as a prompt of its own: what stands before it."""
    rows = [(i, place) for i, each in enumerate(places) for place in dict.fromkeys(each)]
    groups = [[k for k, at in enumerate(places[i]) if at == place] for i, place in rows]
    prompts = [texts[i][:place] for i, place in rows]
    chosen = [[labels[i][k] for k in group] for (i, _), group in zip(rows, groups, strict=True)]
    own = None if owners is None else owners.take([i for i, _ in rows])
    sums = _behind_cache(lm, prompts, chosen, own, read)
    found: list[list[list[float]]] = [[[]] * len(each) for each in labels]
    for (i, _), group, scores in zip(rows, groups, sums, strict=True):
        for k, score in zip(group, scores, strict=True):
            found[i][k] = score
    return found


def _behind_cache(
    lm: LM, prompts: Sequence[list[int]], labels: Sequence[Labels], owners: Owners | None, read: Reading
) -> list[list[list[float]]]:
    """The prompts once, then every label but its last token behind its own copy of the prompt's cache."""
    cache, mask, last = prefill(lm, prompts, owners)
    parent = torch.tensor([i for i, each in enumerate(labels) for _ in each], device=lm.device)
    flat = [label for each in labels for label in each]
    length = max(len(label) for label in flat)
    ids = torch.full((len(flat), length), lm.pad_id, dtype=torch.long)
    for k, label in enumerate(flat):
        ids[k, : len(label)] = torch.tensor(label)
    ids = ids.to(lm.device)
    real = torch.arange(length, device=lm.device) < torch.tensor([len(label) for label in flat])[:, None].to(lm.device)
    states = last[parent][:, None]
    if length > 1:
        cache.batch_select_indices(parent)
        if owners is not None:
            owners.take(parent).announce()
        seen = torch.cat([mask[parent], real[:, :-1].long()], dim=1)
        positions = mask.sum(1)[parent][:, None] + torch.arange(length - 1, device=lm.device)
        if lm.max_positions is not None:
            positions = positions.clamp(max=lm.max_positions - 1)
        states = torch.cat([states, lm.extend(ids[:, :-1], cache, seen, positions)], dim=1)
    hidden = states[real]
    scores = read(lm.head, hidden, torch.arange(len(hidden), device=lm.device), ids[real])
    return _summed(labels, real.nonzero()[:, 0], scores)


@torch.no_grad()
def token_nll(
    lm: LM,
    documents_ids: Sequence[list[int]],
    batch: int,
    window: int,
    stride: int | None = None,
    owners: Owners | None = None,
) -> list[tuple[float, int]]:
    """For each document (-sum_t log p(x_t | x_<t), number of t), over every token but the first.

    A document longer than `window` is read in windows that advance by `stride` (default: half a window); each token is
    scored once, in the first window that holds it, with at least window - stride tokens before it.
    """
    step = stride or max(1, window // 2)
    if window < 2 or not 0 < step < window:
        raise ValueError("0 < stride < window")
    pieces = [(i, piece, first) for i, ids in enumerate(documents_ids) for piece, first in _windows(ids, window, step)]
    pieces.sort(key=lambda piece: -len(piece[1]))
    sums = [0.0] * len(documents_ids)
    for start in range(0, len(pieces), batch):
        chosen = pieces[start : start + batch]
        if owners is not None:
            chosen = sorted(chosen, key=lambda piece: int(owners.of[piece[0]]))
            owners.take([i for i, _, _ in chosen]).announce()
        for (i, _, _), value in zip(chosen, _nll(lm, chosen), strict=True):
            sums[i] += value
    return [(total, max(len(ids) - 1, 0)) for total, ids in zip(sums, documents_ids, strict=True)]


def _windows(ids: list[int], window: int, stride: int) -> list[tuple[list[int], int]]:
    """(tokens, place of the first scored one) of each window; together they score places 1 .. len - 1 once."""
    found: list[tuple[list[int], int]] = []
    scored = 1
    start = 0
    while scored < len(ids):
        end = min(start + window, len(ids))
        found.append((ids[start:end], scored - start))
        scored, start = end, start + stride
    return found


def _nll(lm: LM, pieces: Sequence[tuple[int, list[int], int]]) -> list[float]:
    length = max(len(ids) for _, ids, _ in pieces)
    ids = torch.full((len(pieces), length), lm.pad_id, dtype=torch.long)
    mask = torch.zeros(len(pieces), length, dtype=torch.bool)
    scored = torch.zeros(len(pieces), length, dtype=torch.bool)
    for i, (_, piece, first) in enumerate(pieces):
        ids[i, : len(piece)] = torch.tensor(piece)
        mask[i, : len(piece)] = True
        scored[i, first - 1 : len(piece) - 1] = True
    ids, mask, scored = ids.to(lm.device), mask.to(lm.device), scored.to(lm.device)
    hidden = lm.hidden(ids, mask)[scored]
    targets = ids[:, 1:][scored[:, :-1]]
    scores = log_probs(lm.head, hidden, torch.arange(len(hidden), device=lm.device), targets)
    sums = torch.zeros(len(pieces), dtype=torch.float64, device=lm.device)
    return (-sums.index_add_(0, scored.nonzero()[:, 0], scores.double())).tolist()
