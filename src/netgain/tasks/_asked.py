"""Prompts with constraints that netgain writes itself: every constraint of `_constraints`, short answers, and to each
prompt an answer that keeps them all.

A prompt is one form (a request whose constraint a program can verify) about one thing, and every second one has another
constraint behind it.
"""

import json
from collections.abc import Callable

from netgain.data.embedded.draw import CELLS, Draw
from netgain.data.embedded.lexicon import ANIMALS, FOODS, GOOD, OBJECTS
from netgain.data.source import Example
from netgain.tasks._base import row
from netgain.tasks._constraints import Fields

THINGS = (*ANIMALS, *FOODS, *OBJECTS)
Asked = tuple[str, str, Fields, str]
"""(the request, the constraint's name, its fields, an answer that keeps it)."""


def _words(thing: str, draw: Draw) -> Asked:
    n = draw.choice((12, 20, 30))
    return (
        f"Describe the {thing} in less than {n} words.",
        "length_constraints:number_words",
        _less("num_words", n),
        f"The {thing} is {draw.choice(GOOD)}.",
    )


def _sentences(thing: str, draw: Draw) -> Asked:
    n = draw.choice((2, 3))
    answer = " ".join(f"The {thing} is {good}." for good in draw.sample(GOOD, n))
    fields = {"num_sentences": n, "relation": "at least"}
    return f"Write at least {n} sentences about the {thing}.", "length_constraints:number_sentences", fields, answer


def _paragraphs(thing: str, draw: Draw) -> Asked:
    asked = f"Write two short paragraphs about the {thing}. Separate them by ***."
    answer = f"The {thing} is here.\n***\nIt is {draw.choice(GOOD)}."
    return asked, "length_constraints:number_paragraphs", {"num_paragraphs": 2}, answer


def _first_word(thing: str, draw: Draw) -> Asked:
    asked = f"Write two paragraphs about the {thing}, apart by an empty line. The second begins with the word then."
    fields = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"}
    answer = f"I see the {thing}.\n\nThen it is {draw.choice(GOOD)}."
    return asked, "length_constraints:nth_paragraph_first_word", fields, answer


def _keywords(thing: str, draw: Draw) -> Asked:
    first, second = draw.sample(GOOD, 2)
    asked = f"Write a sentence about the {thing} with the words {first} and {second}."
    return asked, "keywords:existence", {"keywords": [first, second]}, f"The {thing} is {first} and {second}."


def _frequency(thing: str, draw: Draw) -> Asked:
    asked = f"Write about the {thing}. Use the word {thing} at least 2 times."
    fields = {"keyword": thing, "frequency": 2, "relation": "at least"}
    return asked, "keywords:frequency", fields, f"The {thing} is {draw.choice(GOOD)}. I like the {thing}."


def _forbidden(thing: str, draw: Draw) -> Asked:
    asked = f"Describe the {thing} in one sentence, without the word {thing}."
    return asked, "keywords:forbidden_words", {"forbidden_words": [thing]}, f"It is {draw.choice(GOOD)}."


def _letters(thing: str, draw: Draw) -> Asked:
    fields = {"letter": "x", "let_frequency": 2, "let_relation": "less than"}
    asked = f"Write a sentence about the {thing} in which the letter x appears less than 2 times."
    return asked, "keywords:letter_frequency", fields, f"The {thing} was here."


def _language(thing: str, draw: Draw) -> Asked:
    asked = f"What is the German word for {thing}? Answer with a whole sentence in German and nothing else."
    return asked, "language:response_language", {"language": "de"}, "Das ist ein Wort und ich mag es nicht."


def _placeholders(thing: str, draw: Draw) -> Asked:
    asked = f"Write an invitation to see the {thing}, with at least 2 placeholders in square brackets, such as [name]."
    fields = {"num_placeholders": 2}
    return asked, "detectable_content:number_placeholders", fields, f"Dear [name], come to see the {thing} on [day]."


def _postscript(thing: str, draw: Draw) -> Asked:
    asked = f"Write one sentence about the {thing}, then a postscript that begins with P.S."
    answer = f"The {thing} is {draw.choice(GOOD)}.\n\nP.S. Come and see it."
    return asked, "detectable_content:postscript", {"postscript_marker": "P.S."}, answer


def _bullets(thing: str, draw: Draw) -> Asked:
    n = draw.choice((2, 3))
    asked = f"Say what the {thing} is like, in exactly {n} bullet points. Begin each of them with *."
    answer = "\n".join(f"* {good}" for good in draw.sample(GOOD, n))
    return asked, "detectable_format:number_bullet_lists", {"num_bullets": n}, answer


def _constrained(thing: str, draw: Draw) -> Asked:
    asked = (
        f"Do you like the {thing}? Answer with exactly one of these: My answer is yes. My answer is no. "
        "My answer is maybe."
    )
    return asked, "detectable_format:constrained_response", {}, "My answer is yes."


def _highlights(thing: str, draw: Draw) -> Asked:
    asked = f"Describe the {thing} in a sentence, and highlight one word of it with asterisks, as in *word*."
    fields = {"num_highlights": 1}
    return asked, "detectable_format:number_highlighted_sections", fields, f"The {thing} is *{draw.choice(GOOD)}*."


def _sections(thing: str, draw: Draw) -> Asked:
    asked = f"Write about the {thing} in two sections, marked SECTION 1 and SECTION 2."
    answer = f"SECTION 1\nThe {thing} is here.\n\nSECTION 2\nIt is {draw.choice(GOOD)}."
    return asked, "detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2}, answer


def _json(thing: str, draw: Draw) -> Asked:
    asked = f'Describe the {thing} as JSON with the keys "name" and "quality", and write nothing else.'
    answer = json.dumps({"name": thing, "quality": draw.choice(GOOD)})
    return asked, "detectable_format:json_format", {}, answer


def _title(thing: str, draw: Draw) -> Asked:
    asked = f"Write a sentence about the {thing}, below a title in double angular brackets, as <<my title>>."
    return asked, "detectable_format:title", {}, f"<<The {thing}>>\nIt is {draw.choice(GOOD)}."


def _two(thing: str, draw: Draw) -> Asked:
    first, second = draw.sample(GOOD, 2)
    asked = f"Give two different sentences about the {thing}, separated by six asterisks: ******"
    return asked, "combination:two_responses", {}, f"The {thing} is {first}.\n******\nThe {thing} is {second}."


def _repeat(thing: str, draw: Draw) -> Asked:
    said = f"What is the {thing} like?"
    asked = f"First repeat this question word for word, then answer it: {said}"
    return asked, "combination:repeat_prompt", {"prompt_to_repeat": said}, f"{said} It is {draw.choice(GOOD)}."


def _end(thing: str, draw: Draw) -> Asked:
    asked = f"Describe the {thing}. End with exactly these words: That is all."
    return asked, "startend:end_checker", {"end_phrase": "That is all."}, f"It is {draw.choice(GOOD)}. That is all."


def _quotation(thing: str, draw: Draw) -> Asked:
    asked = f"Describe the {thing} in a sentence. Wrap all of your answer in double quotation marks."
    return asked, "startend:quotation", {}, f'"The {thing} is {draw.choice(GOOD)}."'


def _capital_words(thing: str, draw: Draw) -> Asked:
    asked = f"Write a sentence about the {thing} with at least 2 words in capital letters."
    fields = {"capital_frequency": 2, "capital_relation": "at least"}
    return asked, "change_case:capital_word_frequency", fields, f"The {thing.upper()} IS {draw.choice(GOOD)}."


def _capitals(thing: str, draw: Draw) -> Asked:
    asked = f"Write a sentence about the {thing} in English and in capital letters only."
    return asked, "change_case:english_capital", {}, f"THE {thing} IS {draw.choice(GOOD)}.".upper()


def _small(thing: str, draw: Draw) -> Asked:
    asked = f"Write a sentence about the {thing} in English and in lowercase letters only, without any capital."
    return asked, "change_case:english_lowercase", {}, f"the {thing} is {draw.choice(GOOD)}."


def _no_comma(thing: str, draw: Draw) -> Asked:
    asked = f"Say two things about the {thing} without using any comma."
    return asked, "punctuation:no_comma", {}, f"The {thing} is {draw.choice(GOOD)} and I like it."


FORMS: tuple[Callable[[str, Draw], Asked], ...] = (
    _words, _sentences, _paragraphs, _first_word, _keywords, _frequency, _forbidden, _letters, _language, _placeholders,
    _postscript, _bullets, _constrained, _highlights, _sections, _json, _title, _two, _repeat, _end, _quotation,
    _capital_words, _capitals, _small, _no_comma,
)  # fmt: skip


def _less(name: str, n: int) -> Fields:
    return {name: n, "relation": "less than"}


ALSO: tuple[tuple[str, str, Fields], ...] = (
    ("Use less than 60 words.", "length_constraints:number_words", _less("num_words", 60)),
    ("Do not use the word very.", "keywords:forbidden_words", {"forbidden_words": ["very"]}),
    ("Use at most 4 sentences.", "length_constraints:number_sentences", _less("num_sentences", 5)),
)
"""What every answer to a form keeps anyway, if it is as short as it should be."""


def rows(n: int, seed: int) -> list[Example]:
    """Rows 0..n-1 under a seed: the same everywhere, fewer a beginning of more, and seeds 0..7 share no prompt."""
    return [_row(seed, index) for index in range(n)]


def _row(seed: int, index: int) -> Example:
    draw = Draw("instructions", seed, index)
    form = index % len(FORMS)
    # Every CELLS-th thing, from another one for each seed and form: seeds never meet.
    thing = THINGS[(seed + form) % CELLS + CELLS * draw.below(len(THINGS) // CELLS)]
    asked, name, fields, answer = FORMS[form](thing, draw)
    wanted = [(name, fields)]
    if draw.chance(1, 2):
        more, also, limits = draw.choice(ALSO)
        asked, wanted = f"{asked} {more}", [*wanted, (also, limits)]
    return row(f"asked-{seed}-{index}", asked, answer, constraints=json.dumps(wanted))
