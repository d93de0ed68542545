"""From what a model wrote to what it answered: pure functions of strings, None whenever there is no answer.

No parser here has a default. What cannot be read is None, is scored 0 by the task and is counted by the summary,
because a default label turns every malformed output into an answer and a constant score into a finding.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

NEGATIONS = frozenset({"not", "no", "never", "neither", "nor", "none", "cannot", "isn", "wasn", "aren", "don", "doesn"})
MARKERS = re.compile(r"####|\\boxed\{|\banswer(?: is|:|=)", re.IGNORECASE)
NUMBER = re.compile(
    r"(?<![\w.])([-−+]?)\$?((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(/[0-9]+)?"
)
ENDS = ".,;:!?\"'“”‘’`*()[]{}"
"""What may stand at the ends of a word without changing it; signs, as in -5, +3 or C#, are not among them."""
_WORD = re.compile(r"[^\W_]+")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_part(text: str) -> str | None:
    """The text behind a closed thinking block, or all of it; None when thinking never ended or nothing is left."""
    _, closed, rest = text.rpartition("</think>")
    if not closed and "<think>" in text:
        return None
    return rest.strip() or None


def whole_words(text: str, characters: int) -> str:
    """The text up to the last blank within so many characters."""
    if len(text) <= characters:
        return text
    head = text[: characters + 1]
    whole = head if head[-1].isspace() else head.rsplit(maxsplit=1)[0]
    return whole[:characters].rstrip()


def first_line(text: str) -> str | None:
    """The first line with something on it in the answer part."""
    answer = answer_part(text)
    return None if answer is None else answer.splitlines()[0].strip()


def label(text: str, labels: Sequence[str]) -> str | None:
    """The one label that the first line names.

    Labels are found as whole words, longest first ("not_entailment" is no "entailment"). Two different labels, or a
    negation before the label, are no answer. Labels of one character are read with their case ("A" is no article).
    """
    line = first_line(text)
    if line is None:
        return None
    folded = all(len(each) > 1 for each in labels)
    same = [each for each in labels if _fold(line, folded) == _fold(each, folded)]
    if same:
        return same[0] if len(same) == 1 else None
    phrases = sorted(((_words(each, folded), each) for each in labels), key=lambda pair: -len(pair[0]))
    words, hits, i = _words(line, folded), [], 0
    while i < len(words):
        found = next((pair for pair in phrases if pair[0] and words[i : i + len(pair[0])] == pair[0]), None)
        if found:
            hits.append(found[1])
        elif not hits and words[i].casefold() in NEGATIONS:
            return None
        i += len(found[0]) if found else 1
    return hits[0] if len(set(hits)) == 1 else None


def _fold(text: str, folded: bool) -> str:
    return text.strip().casefold() if folded else text.strip()


def _words(text: str, folded: bool) -> list[str]:
    return _WORD.findall(_fold(text, folded))


def normalise(text: str) -> str:
    """Lower case, single spaces, no punctuation or quotes at the ends of words; a text of nothing else is kept."""
    folded = text.casefold().split()
    return " ".join(filter(None, (word.strip(ENDS) for word in folded))) or " ".join(folded)


def exact(text: str, gold: str) -> bool:
    """Whether the answer is the gold text after normalising; one line is read unless the gold has several."""
    answer = answer_part(text) if "\n" in gold.strip() else first_line(text)
    return answer is not None and normalise(answer) == normalise(gold)


def contains(text: str, gold: str) -> bool:
    """Whether the gold words stand in the answer, in a row and as whole words."""
    answer = answer_part(text)
    return answer is not None and f" {normalise(gold)} " in f" {normalise(answer)} "


def number(text: str) -> Fraction | None:
    """The number that the answer gives: the first behind the last marker (####, "answer is", ...), else the last."""
    answer = answer_part(text)
    if answer is None:
        return None
    markers = list(MARKERS.finditer(answer))
    if markers:
        marked = numbers(answer[markers[-1].end() :])
        if marked:
            return marked[0]
    found = numbers(answer)
    return found[-1] if found else None


def numbers(text: str) -> list[Fraction]:
    """Every number of a text, exactly: 1,234.5, -3, $7, 1/2; a hyphen behind a digit or a letter is no minus sign."""
    found = []
    for sign, digits, divisor in NUMBER.findall(text):
        if not divisor or int(divisor[1:]):
            value = Fraction(digits.replace(",", "")) / (int(divisor[1:]) if divisor else 1)
            found.append(-value if sign in ("-", "−") else value)
    return found


def squad_normalise(text: str) -> str:
    """The official normalisation of SQuAD: lower case, no punctuation, no articles, single spaces."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def token_f1(prediction: str, gold: str) -> float:
    """2PR / (P + R) over the bag of normalised tokens; when either has none, whether both have none."""
    mine, theirs = squad_normalise(prediction).split(), squad_normalise(gold).split()
    if not mine or not theirs:
        return float(mine == theirs)
    common = sum((Counter(mine) & Counter(theirs)).values())
    return 2 * common / (len(mine) + len(theirs))


def squad(prediction: str, references: Sequence[str]) -> tuple[float, float]:
    """(F1, exact match), each the maximum over the references."""
    answer = squad_normalise(prediction)
    return (
        max(token_f1(prediction, gold) for gold in references),
        float(any(answer == squad_normalise(gold) for gold in references)),
    )
