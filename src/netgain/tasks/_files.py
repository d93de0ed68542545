"""Reading public corpora that are no tables of rows: CoNLL columns, SQuAD's JSON, plain text."""

import json
from dataclasses import dataclass
from pathlib import Path

from netgain.data.files import jsonl_rows
from netgain.errors import UserError


@dataclass(frozen=True, slots=True)
class Sentence:
    """Words with their tags, and the document that they come from where the file says so."""

    document: str | None
    words: tuple[str, ...]
    tags: tuple[str, ...]


def conll(path: Path, word: int, tag: int, separator: str = "\t") -> list[Sentence]:
    """Sentences of a file with one token a line and blank lines between them; `word` and `tag` are columns' numbers.

    When the words are not in the first column, it numbers them, and ranges (1-2) and empty nodes (8.1) are left out.
    Blanks inside a word become underscores, since blanks divide the words of a prompt.
    """
    sentences: list[Sentence] = []
    document: str | None = None
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*path.read_text(encoding="utf-8-sig").split("\n"), ""], start=1):
        cells = line.rstrip("\r").split(separator)
        if not line.strip():
            if words:
                sentences.append(Sentence(document, tuple(words), tuple(tags)))
                words, tags = [], []
        elif word > 0 and line.startswith("#"):
            if line.startswith("# newdoc id ="):
                document = line.partition("=")[2].strip()
        elif len(cells) <= max(word, tag):
            raise UserError(f"{path}:{number}: {len(cells)} columns where a word and its tag are expected.")
        elif word == 0 or cells[0].isdecimal():
            words.append("_".join(cells[word].split()) or "_")
            tags.append(cells[tag].strip())
    return sentences


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context, with every reference answer."""

    context: str
    question: str
    answers: tuple[str, ...]


def squad(path: Path) -> list[Question]:
    """The questions of a file in SQuAD's format; copies for submission, whose answers are blank, are refused."""
    questions = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                texts = (" ".join(answer["text"].split()) for answer in asked["answers"])
                answers = tuple(dict.fromkeys(text for text in texts if text))
                if not answers:
                    raise UserError(f"{path}: question {asked['id']} has no answer text; this copy is for submission.")
                questions.append(Question(paragraph["context"], asked["question"].strip(), answers))
    return questions


def documents(path: Path) -> list[str]:
    """The texts of a file: the `text` of each JSON line, else what <|endoftext|> divides, else paragraphs."""
    if path.suffix == ".jsonl":
        found = []
        for row in jsonl_rows(path):
            if not isinstance(row.fields.get("text"), str):
                raise UserError(f'{row.where}: a document needs a field "text".')
            found.append(row.fields["text"])
    else:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
        found = text.split("<|endoftext|>" if "<|endoftext|>" in text else "\n\n")
    return [text.strip() for text in found if text.strip()]
