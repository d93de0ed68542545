"""Rows of every kind: deterministic, labelled by the data, disjoint from what is learned from."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from netgain.errors import UserError
from netgain.spec.plugin import TaskPlugin
from netgain.tasks._base import Task, tasks_of
from netgain.tasks.paraphrase import components

REAL = os.environ.get("NETGAIN_DATA")
"""Read before the tests' own environment hides it; the tests of public corpora need their files."""

EMBEDDED = (
    "sentiment",
    "arithmetic",
    "entities",
    "ppl",
    {"kind": "nli", "source": {"kind": "embedded", "suite": "nli", "n": 60}},
    {"kind": "paraphrase", "source": {"kind": "embedded", "suite": "paraphrase", "n": 60}},
    {"kind": "qa", "source": {"kind": "embedded", "suite": "qa", "n": 60}},
    {"kind": "pos", "source": {"kind": "embedded", "suite": "pos", "n": 60}},
    "negation",
)


def task(value: object) -> Task:
    return tasks_of({"t": TaskPlugin.parse(value)})["t"]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A few rows of every corpus in its own format."""
    write(tmp_path, "glue/SST-2/dev.tsv", 'sentence\tlabel\na "fine film . \t1\ndull \t0\nvery dull \t0\n')
    write(tmp_path, "glue/SST-2/train.tsv", "sentence\tlabel\nbright \t1\nDULL \t0\ngood\t1\nbad\t0\nfine\t1\n")
    pairs = [
        f"premise {i // 3}\thypothesis {i}\t{('neutral', 'contradiction', 'entailment')[i % 3]}" for i in range(60)
    ]
    write(tmp_path, "xtreme/xnli/dev-en.tsv", "\n".join(pairs) + "\n")
    rows = "0\ta b\tc\tentailment\n1\td\te\tnot_entailment\n2\tf\tg\tentailment\n"
    rte = f"index\tsentence1\tsentence2\tlabel\n{rows}"
    write(tmp_path, "glue/RTE/dev.tsv", rte)
    write(tmp_path, "glue/RTE/train.tsv", rte.replace("d\te", "h\ti").replace("f\tg", "k\tl"))
    mrpc = "﻿Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    write(tmp_path, "glue/MRPC/dev.tsv", mrpc + "1\t1\t2\tx one\tx two\n0\t3\t4\ty one\ty two\n1\t5\t6\tz one\tz two\n")
    write(
        tmp_path,
        "glue/MRPC/train.tsv",
        mrpc + "0\t7\t8\tq one\tX TWO\n1\t9\t10\tr one\tr two\n0\t11\t12\ts one\ts two\n",
    )
    stsb = "index\tgenre\tscore\tsentence1\tsentence2\n"
    scored = ("4.0\tm one\tm two", "2.5\tn one\tn two", "1.0\to one\to two")
    write(tmp_path, "glue/STS-B/dev.tsv", stsb + "".join(f"{i}\tnews\t{each}\n" for i, each in enumerate(scored)))
    scored = ("1.2\tp one\tp two", "4.6\tq one\tM TWO", "4.2\tr one\tr two", "0.0\ts one\ts two")
    write(tmp_path, "glue/STS-B/train.tsv", stsb + "".join(f"{i}\tnews\t{each}\n" for i, each in enumerate(scored)))
    write(tmp_path, "xtreme/pawsx/dev-en.tsv", "".join(f"a {i}\tb {i}\t{i % 2}\n" for i in range(40)))
    conll = "".join(f"Ann{i}\tB-person\nLee\tI-person\nsleeps\tO\n\n" for i in range(8))
    for part in ("test", "train"):
        write(tmp_path, f"ner/wnut17-{part}.conll", conll.replace("sleeps", part))
    write(tmp_path, "ner/wikigold.conll", "".join(f"Rome{i} I-LOC\nis O\n\n" for i in range(20)))
    uner = "# newdoc id = d{0}\n# text = In Rome\n1\tIn\tO\t-\t-\n2\tRome\tB-LOC\t-\tme\n\n"
    for part in ("dev", "test"):
        write(tmp_path, f"ner/uner_en_ewt-{part}.iob2", "".join(uner.format(f"{part}{i}") for i in range(3)))
    for part in ("dev", "train"):
        write(tmp_path, f"xtreme/udpos/{part}-en.tsv", f"The\tDET\n{part}\tNOUN\nis\tVERB\n\nGo\tVERB\n{part}\tNOUN\n")
    words = "1-2\tdon't\t_\t_\n1\tdo\tdo\tAUX\n2\tn't\tnot\tPART\n2.1\te\te\tX\n3\ta b\tx\tNOUN\n\n"
    conllu = "# newdoc id = {0}\n# sent_id = 1\n" + words
    for part in ("dev", "test"):
        write(tmp_path, f"ud_en_ewt/en_ewt-ud-{part}.conllu", conllu.format(part))
    squad = [
        {"paragraphs": [{"context": f"In 19{i:02} it rained.", "qas": [_question(i, 0), _question(i, 1)]}]}
        for i in range(20)
    ]
    name = "xtreme/tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json"
    write(tmp_path, name, json.dumps({"data": squad}))
    return tmp_path


def _question(i: int, j: int) -> dict[str, object]:
    answers = [{"answer_start": 3, "text": f"19{i:02}"}, {"answer_start": 0, "text": f"In 19{i:02}"}]
    return {"id": "same", "question": f" When did it rain {j}? ", "answers": answers}


CORPORA = (
    "sst2",
    "nli",
    {"kind": "nli", "corpus": "rte"},
    "paraphrase",
    {"kind": "paraphrase", "corpus": "stsb"},
    {"kind": "paraphrase", "corpus": "pawsx"},
    "ner",
    {"kind": "ner", "corpus": "wikigold"},
    {"kind": "ner", "corpus": "uner"},
    "pos",
    {"kind": "pos", "corpus": "ewt"},
    "qa",
)


@pytest.mark.parametrize("value", CORPORA, ids=str)
def test_corpora_are_read_and_divided_by_group(corpora: Path, value: object) -> None:
    check_rows(task(value), corpora)


@pytest.mark.parametrize("value", EMBEDDED, ids=str)
def test_embedded_rows_are_divided_by_group(value: object) -> None:
    check_rows(task(value), None)


def check_rows(asked: Task, folder: Path | None) -> None:
    rows, learned = asked.examples(folder), asked.train_examples(folder)
    assert rows == asked.examples(folder)
    assert learned
    assert not {row.group for row in rows} & {row.group for row in learned}
    assert not {row.id for row in rows} & {row.id for row in learned}
    card = asked.card(folder)
    assert card.items == len(rows) == len({row.id for row in rows})
    assert card.clusters == len({row.group for row in rows})
    assert card.metric == asked.metrics[0]
    assert set(card.binary) <= set(card.metrics)
    json.dumps(card.to_json())
    for bound in (card.chance, card.majority):
        assert bound is None or 0 <= bound <= 1


@pytest.mark.parametrize("value", CORPORA, ids=str)
def test_a_missing_file_is_named(tmp_path: Path, value: object) -> None:
    with pytest.raises(UserError, match=r"no such file.*NETGAIN_DATA"):
        task(value).examples(tmp_path)


def test_nothing_falls_back_to_the_embedded_suites(tmp_path: Path) -> None:
    """A kind with a corpus reads generated rows only when the spec says so."""
    with pytest.raises(UserError):
        task("nli").examples(tmp_path)
    assert task(EMBEDDED[4]).examples(tmp_path)


def test_a_row_that_shares_a_sentence_is_not_learned_from(corpora: Path) -> None:
    texts = {row.turns[0].text for row in task("sst2").train_examples(corpora)}
    assert "Review: DULL\nSentiment:" not in texts
    assert len(texts) == 4
    assert len(task("paraphrase").train_examples(corpora)) == 2


def test_quotes_and_marks_at_the_start_of_a_file_do_no_harm(corpora: Path) -> None:
    assert task("sst2").examples(corpora)[0].turns[0].text == 'Review: a "fine film .\nSentiment:'
    assert len(task("paraphrase").examples(corpora)) == 3


def test_pairs_of_no_clear_similarity_are_left_out(corpora: Path) -> None:
    asked = task({"kind": "paraphrase", "corpus": "stsb"})
    assert [(row.id, row.answer) for row in asked.examples(corpora)] == [("stsb-dev-0", "yes"), ("stsb-dev-2", "no")]
    assert [row.id for row in asked.train_examples(corpora)] == ["stsb-train-2", "stsb-train-3"]


def test_components_join_pairs_through_other_pairs() -> None:
    names = components([("a", "b"), ("c", "d"), ("e", "f"), ("b", "c")])
    assert names[0] == names[1] == names[3] != names[2]


def test_documents_are_the_clusters_where_the_file_names_them(corpora: Path) -> None:
    rows = task({"kind": "ner", "corpus": "uner"}).examples(corpora)
    assert [row.group for row in rows] == [f"uner-test:dtest{i}" for i in range(3)]


def test_conllu_ranges_and_empty_nodes_are_no_words(corpora: Path) -> None:
    only = task({"kind": "pos", "corpus": "ewt"}).examples(corpora)[0]
    assert only.answer == "do/AUX n't/PART a_b/NOUN"


def test_the_label_set_and_its_shares_come_from_the_data(corpora: Path) -> None:
    card = task("sst2").card(corpora)
    assert (card.chance, card.majority) == (0.5, pytest.approx(2 / 3))
    assert card.labels == {"negative": 2, "positive": 1}
    assert task("nli").card(corpora).chance == pytest.approx(1 / 3)
    tags = task("pos").card(corpora)
    assert tags.labels == {"DET": 1, "NOUN": 2, "VERB": 2}
    assert (tags.chance, tags.majority) == (pytest.approx(1 / 3), pytest.approx(2 / 5))


def test_a_label_that_no_row_has_is_still_a_label(tmp_path: Path) -> None:
    write(tmp_path, "rows.csv", "text,label\nfine,1\ngood,1\n")
    labels = {"0": "negative", "1": "positive", "2": "mixed"}
    source = {"kind": "csv", "path": "rows.csv", "prompt": "Review: {text}", "answer": "label", "labels": labels}
    card = task({"kind": "sst2", "source": source}).card(tmp_path)
    assert card.labels == {"negative": 0, "positive": 2, "mixed": 0}
    assert (card.chance, card.majority) == (pytest.approx(1 / 3), 1.0)


def test_a_smaller_limit_is_a_subset_of_a_larger_one() -> None:
    def ids(limit: int, seed: int = 0) -> set[str]:
        rows = task({"kind": "sentiment", "limit": limit, "seed": seed}).examples(None)
        assert len(rows) == limit
        return {row.id for row in rows}

    assert ids(10) < ids(50)
    assert ids(50, seed=1) != ids(50)
    first = {row.id for row in task("sentiment").examples(None)[:50]}
    assert ids(50) != first


def test_the_card_tells_sets_of_items_apart() -> None:
    cards = [task({"kind": "sentiment", "limit": n}).card(None).ids for n in (10, 20, 10)]
    assert cards[0] == cards[2] != cards[1]


def test_demonstrations_are_fixed_distinct_and_from_other_groups() -> None:
    asked = task({"kind": "sentiment", "shots": 4, "limit": 40})
    rows = asked.examples(None)
    requests = asked.requests(rows, None)
    held = {row.group for row in rows}
    for request in requests:
        groups = [shown.group for shown in request.demonstrations]
        assert len(set(groups)) == len(groups) == 4
        assert not held & set(groups)
    assert requests == asked.requests(rows, None)
    assert requests[0].demonstrations != requests[1].demonstrations
    other = task({"kind": "sentiment", "shots": 4, "limit": 40, "seed": 1})
    assert other.requests(rows, None)[0].demonstrations != requests[0].demonstrations
    assert task("sentiment").requests(rows, None)[0].demonstrations == ()


def test_fewer_training_rows_than_shots_are_refused() -> None:
    asked = task({"kind": "sentiment", "shots": 900})
    rows = asked.examples(None)[:1]
    with pytest.raises(UserError, match="900 demonstrations"):
        asked.requests(rows, None)


def test_a_source_of_ones_own_needs_training_rows_to_show(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", '{"q": "a", "a": "yes"}\n{"q": "b", "a": "no"}\n')
    source = {"kind": "jsonl", "path": "rows.jsonl", "prompt": "q", "answer": "a"}
    asked = task({"kind": "jsonl", "match": "label", "source": source, "shots": 1})
    rows = asked.examples(tmp_path)
    with pytest.raises(UserError, match="`train`"):
        asked.requests(rows, tmp_path)
    assert asked.card(tmp_path).labels == {"no": 1, "yes": 1}


@pytest.mark.parametrize(
    "value", [{"kind": "jsonl"}, {"kind": "choice"}, {"kind": "ppl", "path": "a", "source": EMBEDDED[4]["source"]}]
)
def test_a_kind_says_what_it_needs(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"needs a|either"):
        task(value)


def test_gold_that_cannot_be_scored_is_refused_before_anything_runs(tmp_path: Path) -> None:
    write(tmp_path, "rows.jsonl", '{"q": "a", "a": "twelve"}\n')
    source = {"kind": "jsonl", "path": "rows.jsonl", "prompt": "q", "answer": "a"}
    with pytest.raises(UserError, match="no number: twelve"):
        task({"kind": "jsonl", "match": "numeric", "source": source}).examples(tmp_path)
    with pytest.raises(UserError, match='only label is "twelve"'):
        task({"kind": "sst2", "source": source}).examples(tmp_path)
    with pytest.raises(UserError, match="not word/TAG"):
        task({"kind": "pos", "source": {**source, "answer": "two {a}"}}).examples(tmp_path)


def test_blank_gold_answers_are_refused(tmp_path: Path) -> None:
    blank = {
        "data": [{"paragraphs": [{"context": "c", "qas": [{"id": "q7", "question": "?", "answers": [{"text": ""}]}]}]}]
    }
    write(tmp_path, "xtreme/tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.en.train.json", json.dumps(blank))
    with pytest.raises(UserError, match="q7 has no answer text"):
        task("qa").examples(tmp_path)


def test_choices_are_read_from_both_formats(tmp_path: Path) -> None:
    write(tmp_path, "mmlu.csv", 'Egoism is:,"a, b",c,d,e,C\nWhich?,w,x,y,x,A\nTwo?,p,q,,,2\n')
    rows = task({"kind": "choice", "path": "mmlu.csv"}).examples(tmp_path)
    assert [row.answer for row in rows] == ["d", "w", "q"]
    assert [row.labels for row in rows] == [("a, b", "c", "d", "e"), ("w", "x", "y"), ("p", "q")]
    assert [row.turns[0].text for row in rows] == ["Egoism is:", "Question: Which?\nAnswer:", "Question: Two?\nAnswer:"]
    card = task({"kind": "choice", "path": "mmlu.csv"}).card(tmp_path)
    assert card.chance == pytest.approx((1 / 4 + 1 / 3 + 1 / 2) / 3)
    assert card.labels == {"C": 1, "A": 1, "B": 1}
    write(tmp_path, "arc.jsonl", '{"query": "Question: Why?", "choices": ["a", "b"], "gold": 1}\n')
    assert task({"kind": "choice", "path": "arc.jsonl"}).examples(tmp_path)[0].answer == "b"


def test_a_question_without_its_right_option_is_dropped_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path, "arc.csv", "Which?,w,x,A\nBroken,,,1\nWorse,w,x,E\n")
    with pytest.raises(UserError, match=r"arc\.csv row 2.* 2 of 3 questions"):
        task({"kind": "choice", "path": "arc.csv"}).examples(tmp_path)
    assert len(task({"kind": "choice", "path": "arc.csv", "damaged": "drop"}).examples(tmp_path)) == 1


def test_general_text_is_read_from_files(tmp_path: Path) -> None:
    write(tmp_path, "stories.txt", "One day.\nTwo.\n<|endoftext|>\nNext.\n<|endoftext|>\n")
    write(tmp_path, "book.txt", "First\nparagraph.\r\n\r\nSecond.\n\n\n")
    write(tmp_path, "pile.jsonl", '{"text": "a b"}\n{"text": "c"}\n')

    def texts(path: str) -> list[str]:
        return [row.answer for row in task({"kind": "ppl", "path": path}).examples(tmp_path)]

    assert texts("stories.txt") == ["One day.\nTwo.", "Next."]
    assert texts("book.txt") == ["First\nparagraph.", "Second."]
    assert texts("pile.jsonl") == ["a b", "c"]


def test_documents_are_cut_behind_a_word() -> None:
    asked = task({"kind": "ppl", "characters": 10})
    assert asked.cut("one two three four") == "one two"
    assert asked.cut("one two th") == "one two th"
    assert asked.cut("one two thr four") == "one two"
    assert asked.cut("one two th four") == "one two th"


@pytest.mark.skipif(REAL is None, reason="the public corpora are in the folder that NETGAIN_DATA names")
@pytest.mark.parametrize(
    ("value", "items", "majority"),
    [
        ("sst2", 872, 444 / 872),
        ({"kind": "nli", "corpus": "rte"}, 277, 146 / 277),
        ("paraphrase", 408, 279 / 408),
        ({"kind": "paraphrase", "corpus": "stsb"}, 653, 389 / 653),
        ({"kind": "choice", "path": "eval_mcq/commonsense_reasoning/copa.jsonl"}, 100, 0.55),
        ({"kind": "choice", "path": "eval_mcq/world_knowledge/arc_challenge.jsonl"}, 1172, None),
        ("pos", 3974, 11129 / 62632),
        ("ner", 1287, 0.0),
        ({"kind": "ppl", "path": "text/pile_text.jsonl"}, 10, None),
    ],
    ids=str,
)
def test_public_corpora_have_their_known_sizes_and_shares(
    monkeypatch: pytest.MonkeyPatch, value: object, items: int, majority: float | None
) -> None:
    monkeypatch.setenv("NETGAIN_DATA", str(REAL))
    card = task(value).card(None)
    assert card.items == items
    if majority is not None:
        assert card.majority == pytest.approx(majority)


@pytest.mark.skipif(REAL is None, reason="the public corpora are in the folder that NETGAIN_DATA names")
@pytest.mark.parametrize("value", CORPORA, ids=str)
def test_public_corpora_are_divided_by_group(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    monkeypatch.setenv("NETGAIN_DATA", str(REAL))
    check_rows(task(value), None)
    counts = Counter(row.answer for row in task(value).examples(None))
    assert counts.most_common(1)[0][1] < counts.total()
