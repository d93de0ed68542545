"""Instructions that a program verifies: a constraint is kept by what keeps it, and by nothing that breaks it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgain.data.embedded.draw import CELLS
from netgain.errors import UserError
from netgain.spec.plugin import TaskPlugin
from netgain.tasks import _asked
from netgain.tasks._base import Generate, Generated, Task, tasks_of
from netgain.tasks._constraints import CHECKS, followed, followed_loosely, loosened
from netgain.tasks._language import LANGUAGES, is_in, sentences

MORE, LESS = "at least", "less than"
CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["Sun", "c++"]}, ["the SUNNY c++ day"], ["the sun", "c++", "sun ccc"]),
    ("keywords:frequency", {"keyword": "ha", "frequency": 2, "relation": MORE}, ["ha Ha", "haha"], ["ha"]),
    ("keywords:frequency", {"keyword": "ha", "frequency": 2, "relation": LESS}, ["ha"], ["ha ha"]),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, ["a category"], ["a Cat, here", "cat"]),
    ("keywords:letter_frequency", {"letter": "E", "let_frequency": 3, "let_relation": MORE}, ["Eee"], ["ee a"]),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 3, "let_relation": LESS}, ["ee"], ["eeE"]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": MORE}, ["A b. C d!"], ["Mr. A is it."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": LESS}, ["One, e.g. two."], ["A? B."]),
    ("length_constraints:number_words", {"num_words": 3, "relation": MORE}, ["one two-three"], ["one two ..."]),
    ("length_constraints:number_words", {"num_words": 3, "relation": LESS}, ["a, b"], ["a b c"]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["a\n***\nb", "a *** b\n***\n"],
     ["a", "a\n\nb", "a\n***\n***\nb", "a***b***c"]),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
     ["a b\n\nThen, c", 'a\n\n"then" c'], ["then\n\nb", "a\n\nb", "a\n\nthen\n\nc", "then", "a\n\nthence"]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] and [b c]"], ["[a]", "(a) (b)"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["hi\np. s. more"], ["hi", "PS more"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["hi P.P.S more"], ["hi P.S. more"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n* b", "- a\n  - b\nc"],
     ["* a", "* a\n* b\n- c", "** a\n** b", "1. a\n2. b"]),
    ("detectable_format:constrained_response", {}, ["Well. My answer is no."], ["My answer is", "no", "yes."]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*a* and **b c**", "*a* *b*"],
     ["*a*", "** and **", "* a\n* b"]),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     ["SECTION 1\na\nSECTION 2\nb"], ["SECTION 1\na", "Section 1 Section 2", "SECTION a SECTION b"]),
    ("detectable_format:json_format", {}, ['{"a": [1]}', '```json\n{"a": 1}\n```'], ["{a: 1}", 'So: {"a": 1}']),
    ("detectable_format:title", {}, ["<<The sun>>\nhot"], ["<The sun>", "<< >>", "<<The\nsun>>"]),
    ("combination:two_responses", {}, ["a******b", "******a\n******\nb"],
     ["a", "a******a", "a******b******c", "a************b"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say A."}, [" say a. A"], ["A. Say A.", "Say B. A"]),
    ("startend:end_checker", {"end_phrase": "That is all."}, ['Hm. "that is all."', "That is all. "], ["That is all"]),
    ("startend:quotation", {}, ['"a"', ' "a b" '], ['"', "a", '"a', "'a'"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": MORE}, ["I SAW it"], ["I saw"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": LESS}, ["SO be it"], ["I SAW"]),
    ("change_case:english_capital", {}, ["THE SUN IS HOT.", "ON 9 MAY"], ["THE SUN is HOT", "DIE SONNE IST NICHT DA"]),
    ("change_case:english_lowercase", {}, ["the sun is hot"], ["The sun is hot", "9", "die sonne ist nicht da"]),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
    ("language:response_language", {"language": "de"}, ["Das ist ein Hund und ich mag ihn nicht."], ["That is a dog."]),
]  # fmt: skip
SPOKEN = {
    "en": "The dog was in the house and it is not here.",
    "es": "El perro está en la casa y no quiere salir con los niños.",
    "pt": "O cachorro não está em casa e as crianças são felizes com o gato.",
    "fr": "Le chien est dans la maison et il ne veut pas sortir avec les enfants.",
    "de": "Der Hund ist nicht in dem Haus und die Kinder spielen mit der Katze.",
    "it": "Il cane non è nella casa e gli amici sono con il gatto che dorme.",
    "pl": "Pies jest w domu i nie chce wyjść na dwór, ale to nie jest ważne.",
    "vi": "Con chó không ở trong nhà và những đứa trẻ là bạn của tôi.",
    "sw": "Mbwa ni rafiki wa watu na yake ni nyumba katika mji wa zamani.",
    "fi": "Koira on talossa ja se ei ole iloinen, mutta lapset ovat.",
    "ru": "Собака не в доме, и это как раз то, что я люблю.",
    "uk": "Собака не в будинку, і це те, що я люблю, та й кіт є.",
    "bg": "Кучето не е в къщата и това е хубаво, защото се радвам да съм тук.",
    "ar": "الكلب في البيت وهذا ما لا أريد أن أقوله عن هذه القصة من قبل",
    "fa": "سگ در خانه است و این را برای شما می گویم که با من به بازار",
    "ur": "کتا گھر میں ہے اور یہ بچوں کے ساتھ ہے",
    "hi": "कुत्ता घर में है और यह बच्चों के साथ खेलता है",
    "mr": "कुत्रा घरात आहे आणि तो मुलांसोबत खेळत नाही",
    "ne": "कुकुर घरमा छ र यो बच्चाहरू को लागि राम्रो छ",
    "he": "הכלב בבית", "bn": "কুকুরটি বাড়িতে আছে", "pa": "ਕੁੱਤਾ ਘਰ ਵਿੱਚ ਹੈ", "gu": "કૂતરો ઘરમાં છે", "ta": "நாய் வீட்டில் உள்ளது",
    "te": "కుక్క ఇంట్లో ఉంది", "kn": "ನಾಯಿ ಮನೆಯಲ್ಲಿದೆ", "ml": "നായ വീട്ടിലുണ്ട്", "th": "สุนัขอยู่ในบ้าน", "ko": "개가 집에 있다",
    "ja": "犬は家にいます。", "zh": "狗在家里。",
}  # fmt: skip


def task(**fields: Any) -> Task:
    return tasks_of({"t": TaskPlugin.parse({"kind": "instructions", **fields})})["t"]


def values(asking: Task, row: Any, text: str) -> dict[str, float | None]:
    return {each.metric: each.value for each in asking.score(row, Generated(text, 3, False))}


def write(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(("name", "fields", "kept", "broken"), CASES)
def test_a_constraint_is_kept_by_what_keeps_it_and_by_nothing_else(
    name: str, fields: dict[str, Any], kept: list[str], broken: list[str]
) -> None:
    for text in kept:
        assert followed(name, fields, text), text
    for text in [*broken, "", "  \n"]:
        assert not followed(name, fields, text), text


def test_every_constraint_of_the_benchmark_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(CHECKS)
    assert len(CHECKS) == 25


@given(st.text(alphabet="ab .*\n,!", max_size=40), st.sampled_from([case[:2] for case in CASES]))
def test_what_is_kept_strictly_is_kept_loosely(text: str, case: tuple[str, dict[str, Any]]) -> None:
    assert followed_loosely(*case, text) or not followed(*case, text)


@given(st.text(alphabet="aB .,\n", max_size=40), st.integers(0, 9))
def test_at_least_and_less_than_are_opposites(text: str, n: int) -> None:
    counted = {"number_words": "num_words", "number_sentences": "num_sentences"}
    if text.strip():
        for name, field in counted.items():
            more, less = ({field: n, "relation": relation} for relation in (MORE, LESS))
            assert followed(f"length_constraints:{name}", more, text) != followed(
                f"length_constraints:{name}", less, text
            )


@given(st.lists(st.sampled_from(["One two", "Is it", "so be it", "Mr. Smith came", "At 3.5 p.m. we met"]), max_size=6))
def test_sentences_are_counted_and_nothing_of_them_is_lost(parts: list[str]) -> None:
    text = " ".join(f"{part}{'.?!'[i % 3]}" for i, part in enumerate(parts))
    assert len(sentences(text)) == len(parts)
    assert re.sub(r"\s", "", "".join(sentences(text))) == re.sub(r"\s", "", text)


def test_a_polite_first_line_and_markdown_are_forgiven_loosely_only() -> None:
    said = 'Sure, here it is:\n{"a": 1}'
    assert not followed("detectable_format:json_format", {}, said)
    assert followed_loosely("detectable_format:json_format", {}, said)
    assert followed_loosely("startend:end_checker", {"end_phrase": "Bye."}, "Hi. **Bye.**")
    assert len(loosened("a\nb\nc")) == 8
    assert loosened("a\n*b*\nc")[3:5] == ["*b*", "a\nb\nc"]


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_is_told_from_all_others(code: str) -> None:
    assert [other for other, said in SPOKEN.items() if is_in(code, said)] == [code]
    assert set(SPOKEN) == set(LANGUAGES)


def test_generated_prompts_have_answers_that_keep_them_and_seeds_never_meet() -> None:
    made = [_asked.rows(100, seed) for seed in range(CELLS)]
    for row in (row for rows in made for row in rows):
        for name, fields in json.loads(row.meta["constraints"]):
            assert followed(name, fields, row.answer), (name, row.answer)
    assert {json.loads(row.meta["constraints"])[0][0] for row in made[0]} == set(CHECKS)
    groups = [{row.group for row in rows} for rows in made]
    assert not any(groups[a] & groups[b] for a in range(CELLS) for b in range(a))
    assert made[1][:30] == _asked.rows(30, 1)


def test_accuracy_is_of_prompts_and_of_constraints(tmp_path: Path) -> None:
    two = ["punctuation:no_comma", "startend:quotation"]
    rows = [
        {"key": 1000, "prompt": "p", "instruction_id_list": two, "kwargs": [{}, {"num_words": None}]},
        {"key": 1001, "prompt": "q", "instruction_id_list": two[:1], "kwargs": [{}]},
    ]
    asking = task(path=write(tmp_path, *rows))
    first, second = asking.examples(None)
    assert (first.id, first.turns[0].text, second.id) == ("prompt-1000", "p", "prompt-1001")
    assert first.group != second.group
    assert values(asking, first, "no, comma") == dict.fromkeys(asking.metrics, 0.0)
    assert values(asking, first, "no comma")["instruction_strict"] == 0.5
    assert values(asking, first, "no comma")["prompt_strict"] == 0.0
    assert values(asking, first, 'So:\n"no comma"') == {
        "prompt_strict": 0.0, "prompt_loose": 1.0, "instruction_strict": 0.5, "instruction_loose": 1.0,
    }  # fmt: skip
    assert {each.weight for each in asking.score(first, Generated("x", 1, False))} == {1.0, 2}
    (told, *_) = asking.score(first, Generated("no comma", 2, False))
    assert (told.prediction, told.parsed) == ("not kept: startend:quotation", True)
    (silent, *_) = asking.score(second, Generated(" ", 1, False))
    assert (silent.value, silent.prediction, silent.parsed) == (0.0, None, False)


def test_the_budget_is_the_tasks_and_generated_prompts_can_be_shown() -> None:
    asking = task(generated=30, limit=5, max_new_tokens=32, shots=1)
    requests = asking.requests(asking.examples(None), None)
    assert len(requests) == 5
    for request in requests:
        assert isinstance(request, Generate)
        assert request.max_new_tokens == 32
        assert request.golds == ("",)
        assert request.demonstrations[0].answer
    assert not {row.group for row in asking.examples(None)} & {row.group for row in asking.train_examples(None)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instruction_id_list": ["keywords:exists"]}, '"keywords:exists" is no constraint'),
        ({"instruction_id_list": ["keywords:existence"]}, 'lacks its field "keywords"'),
        ({"kwargs": []}, "lists of the same length"),
        ({"instruction_id_list": ["language:response_language"], "kwargs": [{"language": "xx"}]}, 'no language "xx"'),
    ],
)
def test_a_row_that_cannot_be_checked_is_named_by_its_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    row = {"key": 1, "prompt": "p", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]} | change
    with pytest.raises(UserError, match=rf"prompts\.jsonl:1: .*{said}"):
        task(path=write(tmp_path, row)).examples(None)


def test_a_file_and_a_hub_data_set_are_read_alike(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [
        {"key": 1, "prompt": "p", "instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["a"]}]},
        {"key": 2, "prompt": "q", "instruction_id_list": ["startend:quotation"], "kwargs": [{}]},
    ]
    here = task(path=write(tmp_path, *rows)).examples(None)
    place = tmp_path / "set"
    place.mkdir()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["kwargs"] = [[{"keywords": ["a"], "num_words": None}], [{"keywords": None, "num_words": None}]]
    datasets.Dataset.from_dict(columns).to_parquet(place / "train.parquet")
    assert task(hub=str(place)).examples(None) == here
