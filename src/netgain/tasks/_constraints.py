"""Constraints that a program can verify, by the names and fields of IFEval (Zhou et al. 2023, arXiv 2311.07911).

    followed(name, fields, text) -> whether the text does what it was asked

The rules are those that the benchmark describes: words are runs of letters, digits and underscores, keywords are sought
anywhere without case, forbidden words as whole words. Two of its tools are replaced: sentences end at their full stops
instead of by a trained splitter, and languages are told by their letters and commonest words.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from netgain.tasks._language import is_in, sentences

Fields = Mapping[str, Any]

WORD = re.compile(r"\w+")
BULLET = re.compile(r"^\s*(?:\*[^*].*|-.*)$", re.MULTILINE)
HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
STRONG = re.compile(r"\*\*[^\n*]*\*\*")
TITLE = re.compile(r"<<[^\n]+>>")
PLACEHOLDER = re.compile(r"\[.*?\]")
TOKEN = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*|\S")
FENCES = ("```json", "```Json", "```JSON", "```")
OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
STARS, SIX_STARS = re.compile(r"\s?\*\*\*\s?"), "******"
ENDS_A_WORD = frozenset(".,?!'\"")


def _compared(count: int, wanted: Any, relation: Any) -> bool:
    """count >= wanted, or count < wanted where the relation is "less than"."""
    return count < int(wanted) if relation == "less than" else count >= int(wanted)


def _keywords(fields: Fields, text: str) -> bool:
    return all(re.search(re.escape(str(word)), text, re.IGNORECASE) for word in fields["keywords"])


def _keyword_frequency(fields: Fields, text: str) -> bool:
    found = re.findall(re.escape(str(fields["keyword"])), text, re.IGNORECASE)
    return _compared(len(found), fields["frequency"], fields.get("relation"))


def _forbidden(fields: Fields, text: str) -> bool:
    return not any(re.search(rf"\b{re.escape(str(word))}\b", text, re.IGNORECASE) for word in fields["forbidden_words"])


def _letter_frequency(fields: Fields, text: str) -> bool:
    count = text.lower().count(str(fields["letter"]).lower())
    return _compared(count, fields["let_frequency"], fields.get("let_relation"))


def _language(fields: Fields, text: str) -> bool:
    return is_in(str(fields["language"]), text)


def _sentences(fields: Fields, text: str) -> bool:
    return _compared(len(sentences(text)), fields["num_sentences"], fields.get("relation"))


def _words(fields: Fields, text: str) -> bool:
    return _compared(len(WORD.findall(text)), fields["num_words"], fields.get("relation"))


def _within(parts: list[str]) -> list[str] | None:
    """The parts that hold something; None when an empty one stands between others."""
    kept = [part for i, part in enumerate(parts) if part.strip() or i not in (0, len(parts) - 1)]
    return kept if all(part.strip() for part in kept) else None


def _paragraphs(fields: Fields, text: str) -> bool:
    """Paragraphs apart by ***."""
    found = _within(STARS.split(text))
    return found is not None and len(found) == int(fields["num_paragraphs"])


def _first_word(fields: Fields, text: str) -> bool:
    """Paragraphs apart by an empty line, and the first word of one of them."""
    parts = text.split("\n\n")
    count, place = sum(bool(part.strip()) for part in parts), int(fields["nth_paragraph"])
    if place > count or not parts[place - 1].strip():
        return False
    raw = parts[place - 1].split()[0].lstrip("'").lstrip('"')
    end = next((i for i, letter in enumerate(raw) if letter in ENDS_A_WORD), len(raw))
    return count == int(fields["num_paragraphs"]) and raw[:end].lower() == str(fields["first_word"]).lower()


def _placeholders(fields: Fields, text: str) -> bool:
    return len(PLACEHOLDER.findall(text)) >= int(fields["num_placeholders"])


def _postscript(fields: Fields, text: str) -> bool:
    marker = str(fields["postscript_marker"]).strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return re.search(known.get(marker, re.escape(marker.lower())), text.lower()) is not None


def _bullets(fields: Fields, text: str) -> bool:
    return len(BULLET.findall(text)) == int(fields["num_bullets"])


def _constrained(fields: Fields, text: str) -> bool:
    return any(option in text for option in OPTIONS)


def _highlights(fields: Fields, text: str) -> bool:
    """*so* or **so**, with something between the stars."""
    count = sum(bool(each.strip("*").strip()) for each in HIGHLIGHT.findall(text))
    count += sum(bool(each.removeprefix("**").removesuffix("**").strip()) for each in STRONG.findall(text))
    return count >= int(fields["num_highlights"])


def _sections(fields: Fields, text: str) -> bool:
    """SECTION 1, SECTION 2, ..."""
    mark = re.escape(str(fields["section_spliter"]))
    return len(re.findall(rf"{mark}\s?\d+", text)) >= int(fields["num_sections"])


def _json(fields: Fields, text: str) -> bool:
    value = text.strip()
    for fence in FENCES:
        value = value.removeprefix(fence)
    try:
        json.loads(value.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(fields: Fields, text: str) -> bool:
    return any(each.lstrip("<").rstrip(">").strip() for each in TITLE.findall(text))


def _two_responses(fields: Fields, text: str) -> bool:
    found = _within(text.split(SIX_STARS))
    return found is not None and len(found) == 2 and found[0].strip() != found[1].strip()


def _repeat(fields: Fields, text: str) -> bool:
    return text.strip().lower().startswith(str(fields["prompt_to_repeat"]).strip().lower())


def _end(fields: Fields, text: str) -> bool:
    return text.strip().strip('"').lower().endswith(str(fields["end_phrase"]).strip().lower())


def _quotation(fields: Fields, text: str) -> bool:
    value = text.strip()
    return len(value) > 1 and value.startswith('"') and value.endswith('"')


def _capital_words(fields: Fields, text: str) -> bool:
    count = sum(each.isupper() for each in TOKEN.findall(text))
    return _compared(count, fields["capital_frequency"], fields.get("capital_relation"))


def _capitals(fields: Fields, text: str) -> bool:
    return text.isupper() and is_in("en", text)


def _small_letters(fields: Fields, text: str) -> bool:
    return text.islower() and is_in("en", text)


def _no_comma(fields: Fields, text: str) -> bool:
    return "," not in text


CHECKS: dict[str, tuple[tuple[str, ...], Callable[[Fields, str], bool]]] = {
    "keywords:existence": (("keywords",), _keywords),
    "keywords:frequency": (("keyword", "frequency"), _keyword_frequency),
    "keywords:forbidden_words": (("forbidden_words",), _forbidden),
    "keywords:letter_frequency": (("letter", "let_frequency"), _letter_frequency),
    "language:response_language": (("language",), _language),
    "length_constraints:number_sentences": (("num_sentences",), _sentences),
    "length_constraints:number_paragraphs": (("num_paragraphs",), _paragraphs),
    "length_constraints:number_words": (("num_words",), _words),
    "length_constraints:nth_paragraph_first_word": (("num_paragraphs", "nth_paragraph", "first_word"), _first_word),
    "detectable_content:number_placeholders": (("num_placeholders",), _placeholders),
    "detectable_content:postscript": (("postscript_marker",), _postscript),
    "detectable_format:number_bullet_lists": (("num_bullets",), _bullets),
    "detectable_format:constrained_response": ((), _constrained),
    "detectable_format:number_highlighted_sections": (("num_highlights",), _highlights),
    "detectable_format:multiple_sections": (("section_spliter", "num_sections"), _sections),
    "detectable_format:json_format": ((), _json),
    "detectable_format:title": ((), _title),
    "combination:two_responses": ((), _two_responses),
    "combination:repeat_prompt": (("prompt_to_repeat",), _repeat),
    "startend:end_checker": (("end_phrase",), _end),
    "startend:quotation": ((), _quotation),
    "change_case:capital_word_frequency": (("capital_frequency",), _capital_words),
    "change_case:english_capital": ((), _capitals),
    "change_case:english_lowercase": ((), _small_letters),
    "punctuation:no_comma": ((), _no_comma),
}
"""Of every constraint: the fields that it must have, and its check."""


def followed(name: str, fields: Fields, text: str) -> bool:
    """Whether the text keeps the constraint; an empty text keeps none."""
    return bool(text.strip()) and CHECKS[name][1](fields, text)


def loosened(text: str) -> list[str]:
    """The text, and what is left of it without its first line, its last one, both, and its asterisks.

    An answer that is right but for a polite first line or Markdown is counted as right by the loose reading.
    """
    lines = text.split("\n")
    cuts = [text, "\n".join(lines[1:]), "\n".join(lines[:-1]), "\n".join(lines[1:-1])]
    cuts = [text, *(cut.strip() for cut in cuts[1:])]
    return [*cuts, *(cut.replace("*", "") for cut in cuts)]


def followed_loosely(name: str, fields: Fields, text: str) -> bool:
    """Whether any of the loosened texts keeps the constraint."""
    return any(followed(name, fields, each) for each in loosened(text))
