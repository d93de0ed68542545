"""The five tasks of XTREME, and GLUE, as the Hugging Face hub has them, with the labels that the sets name themselves.

XTREME (Hu et al. 2020) holds PAWS-X, MLQA, SQuAD, WikiANN (PAN-X) and UDPOS; XNLI comes from its own set, which has the
training rows too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from netgain.data.fields import Row
from netgain.data.files import hub_rows
from netgain.errors import UserError
from netgain.tasks._files import Question, Sentence

XTREME = "google/xtreme"
XNLI = "facebook/xnli"
XQUAD = "google/xquad"
GLUE = "nyu-mll/glue"
UD_LANGUAGES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fr": "French", "hi": "Hindi", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pt": "Portuguese", "ru": "Russian", "tr": "Turkish",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def named_rows(path: str, config: str, split: str, folder: Path | None) -> Iterator[Row]:
    """Rows whose label fields hold the names that the data set itself gives them."""
    _, rows, names = hub_rows(path, config, split, folder)
    for row in rows:
        yield Row(row.where, {field: _named(value, names.get(field)) for field, value in row.fields.items()})


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None:
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_named(each, names) for each in value]
    return names[value] if isinstance(value, int) else value


def sentences(config: str, split: str, field: str, folder: Path | None) -> list[Sentence]:
    """Tagged sentences of an XTREME set; blanks inside a word become underscores, as in files."""
    found: list[Sentence] = []
    for row in named_rows(XTREME, config, split, folder):
        words = tuple("_".join(str(word).split()) or "_" for word in row.fields["tokens"])
        found.append(Sentence(None, words, tuple(map(str, row.fields[field]))))
    return found


def questions(path: str, config: str, split: str, folder: Path | None) -> list[Question]:
    """SQuAD-like questions with every reference answer."""
    found: list[Question] = []
    for row in named_rows(path, config, split, folder):
        answers: Mapping[str, Sequence[str]] = row.fields["answers"]
        texts = tuple(dict.fromkeys(text for each in answers["text"] if (text := " ".join(each.split()))))
        if not texts:
            raise UserError(f"{row.where}: this question has no answer text.")
        found.append(Question(row.fields["context"], row.fields["question"].strip(), texts))
    return found


def ud_language(code: str) -> str:
    """The name of a language as UDPOS calls it."""
    if code not in UD_LANGUAGES:
        raise UserError(f'udpos: no language "{code}" on the hub; known are {", ".join(UD_LANGUAGES)}.')
    return UD_LANGUAGES[code]
