"""Tagged words: reading word/TAG output, aligning it with the gold words, and the spans that BIO tags mean."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Tagged = tuple[str, str | None]
"""A word with its tag, or with None where no known tag could be read."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Words start..stop-1 form one entity of this kind."""

    start: int
    stop: int
    kind: str


def read_tagged(text: str, tags: Iterable[str]) -> list[Tagged]:
    """(word, tag) of each blank-separated piece "word/TAG"; the last slash divides, a tag's case does not matter."""
    known = {tag.casefold(): tag for tag in tags}
    pairs: list[Tagged] = []
    for piece in text.split():
        word, slash, tag = piece.rpartition("/")
        pairs.append((word, known.get(tag.casefold())) if slash else (piece, None))
    return pairs


def write_tagged(words: Sequence[str], tags: Sequence[str]) -> str:
    """word/TAG word/TAG ..."""
    return " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))


def align(n: int, m: int, gain: Callable[[int, int], int]) -> list[tuple[int, int]]:
    """The pairs (i < n, j < m), rising in both, with the largest sum of gains; only pairs with a gain are formed."""
    best = [[0] * (m + 1) for _ in range(n + 1)]
    gains = [[gain(i, j) for j in range(m)] for i in range(n)]
    for i in range(n - 1, -1, -1):
        row, below = best[i], best[i + 1]
        for j in range(m - 1, -1, -1):
            here = gains[i][j]
            row[j] = max(row[j + 1], below[j], here + below[j + 1] if here else 0)
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        if gains[i][j] and best[i][j] == gains[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def tags_right(gold: Sequence[Tagged], output: Sequence[Tagged]) -> int:
    """The longest common subsequence of the two lists of (word, tag).

    Inserting, dropping or changing one piece of the output changes it by at most 1, so no slip shifts the rest.
    """
    return len(align(len(gold), len(output), lambda i, j: int(gold[i] == output[j])))


def spans(tags: Sequence[str | None]) -> list[Span]:
    """The entities of a BIO sequence by the rules of conlleval and seqeval's default mode.

    B-x opens a span; I-x continues one of kind x, and opens one where there is none to continue. Anything else closes.
    """
    found: list[Span] = []
    start, kind = 0, None
    for i, tag in enumerate([*tags, None]):
        prefix, _, name = (tag or "O").partition("-")
        inside = name if prefix in ("B", "I") else None
        if kind is not None and (inside != kind or prefix == "B"):
            found.append(Span(start, i, kind))
            kind = None
        if inside is not None and kind is None:
            start, kind = i, inside
    return found


def span_counts(gold: Sequence[Tagged], output: Sequence[Tagged]) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives) of the output's spans against the gold spans.

    Output words are aligned with gold words (as many as possible, then as many equal tags as possible). A span is right
    when its words are aligned with exactly the words of a gold span of its kind, so an invented or dropped word spoils
    only the spans that it touches.
    """
    many = len(gold) + len(output) + 1

    def gain(i: int, j: int) -> int:
        return (many + (gold[i][1] == output[j][1])) if gold[i][0] == output[j][0] else 0

    place = {j: i for i, j in align(len(gold), len(output), gain)}
    wanted = set(spans([tag for _, tag in gold]))
    given = spans([tag for _, tag in output])
    right = 0
    for span in given:
        at = [place.get(j) for j in range(span.start, span.stop)]
        if at[0] is not None and at == list(range(at[0], at[0] + len(at))):
            right += Span(at[0], at[0] + len(at), span.kind) in wanted
    return right, len(given) - right, len(wanted) - right


def micro_f1(true_positives: float, false_positives: float, false_negatives: float) -> float | None:
    """2 TP / (2 TP + FP + FN); None (undefined) where there is neither a gold nor a given span."""
    total = 2 * true_positives + false_positives + false_negatives
    return 2 * true_positives / total if total else None
