"""An endpoint judge against a real server that answers, fails, stalls and talks rubbish."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chat_server import Answer, Handler, Script, says, serving

from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.judges import _chat
from netgain.judges._base import Bench, Case
from netgain.judges.endpoint import Endpoint
from netgain.stats.judge import agreement, swap_consistency


@pytest.fixture
def server() -> Iterator[Script]:
    with serving() as script:
        yield script


def judge(server: Script, **fields: object) -> Endpoint:
    patient = {"attempts": 3, "backoff": 0.01, "timeout": 5.0, "workers": 1}
    return Endpoint.model_validate({"kind": "endpoint", "url": server.url, "model": "m", **patient, **fields})


def case(name: str = "a", answer: str = "Four.", references: tuple[str, ...] = ()) -> Case:
    return Case(name, (Turn("user", f"What is 2+2, {name}?"),), answer, references, "math")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(None, tmp_path / "cache")


def outcomes(found: list) -> list[tuple[float | None, str | None]]:
    return [(each.value, each.reason) for ratings in found for each in ratings]


def test_a_grade_is_read_kept_and_never_paid_for_twice(server: Script, bench: Bench) -> None:
    server.reply = lambda body, n: says("An example of a grade is [[2]]. This is better. Rating: [[8.5]]")
    asked = judge(server, price=(1.0, 10.0))
    assert outcomes(asked.rate([case("a"), case("b")], bench)) == [(8.5, None)] * 2
    assert outcomes(asked.rate([case("a"), case("b"), case("c")], bench)) == [(8.5, None)] * 3
    assert len(server.seen) == 3
    notes = [json.loads(p.read_text()) for p in sorted((bench.cache / "spent").iterdir())]
    assert [(n["requests"], n["cached"], n["prompt_tokens"], n["completion_tokens"]) for n in notes] == [
        (2, 0, 200, 20),
        (1, 2, 100, 10),
    ]
    assert [n["cost"] for n in notes] == pytest.approx([4e-4, 2e-4])
    judge(server, temperature=0.5).rate([case("a")], bench)
    assert len(server.seen) == 4


def test_what_is_sent_holds_conversation_answer_references_and_key(
    server: Script, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    turns = (Turn("user", "First question"), Turn("assistant", "First answer"), Turn("user", "Second question"))
    both = Case("x", turns, "Second {answer}", ("right one", "right two"), "math")
    poem = replace(both, turns=turns[:1], references=("right one",), category="writing")
    judge(server, key_env="MY_KEY").rate([both, case("no references"), poem], bench)
    text = [m["content"] for m in server.seen[0]["messages"]]
    for part in ("First question", "First answer", "Second question", "Second {answer}", "right one", "right two"):
        assert part in text[1]
    assert "Right answers" in text[0]
    for other in server.seen[1:]:
        assert "ight answer" not in "".join(m["content"] for m in other["messages"])
    assert server.keys == ["Bearer secret"] * 3
    assert not any("secret" in path.read_text() for path in bench.cache.rglob("*.json"))
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UserError, match="MY_KEY"):
        judge(server, key_env="MY_KEY").ready(None)


def test_a_server_that_fails_twice_is_asked_a_third_time(server: Script, bench: Bench) -> None:
    server.reply = lambda body, n: (500 if n == 1 else 429, b"busy") if n < 3 else says("[[6]]")
    assert outcomes(judge(server).rate([case()], bench)) == [(6.0, None)]
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("reply", "reason", "requests"),
    [
        ((503, b"down"), "judge_http_503", 3),
        ((400, b"too long"), "judge_http_400", 1),
        ((200, b"<html>hello</html>"), "judge_garbled", 3),
        ((200, b'{"choices": []}'), "judge_garbled", 3),
        ((200, b'{"choices": [{"message": {"content": null}}]}'), "judge_garbled", 3),
        ((200, b"\xff\xfe\x00"), "judge_garbled", 3),
        (says("I would say seven."), "judge_unreadable", 1),
        (says("Rating: [[11]]"), "judge_unreadable", 1),
        (says("Rating: [[0]]"), "judge_unreadable", 1),
        (says("Rating: 7/10"), "judge_unreadable", 1),
        (says(""), "judge_unreadable", 1),
        (says("Let me think", finish="length"), "judge_cut", 1),
    ],
)
def test_rubbish_is_missing_and_never_a_number(
    server: Script, bench: Bench, reply: Answer, reason: str, requests: int
) -> None:
    server.reply = lambda body, n: reply
    assert outcomes(judge(server).rate([case()], bench)) == [(None, reason)]
    assert len(server.seen) == requests


def test_a_failed_reply_is_asked_for_again_next_time(server: Script, bench: Bench) -> None:
    server.reply = lambda body, n: (500, b"")
    assert outcomes(judge(server).rate([case()], bench)) == [(None, "judge_http_500")]
    server.reply = lambda body, n: says("[[9]]")
    assert outcomes(judge(server).rate([case()], bench)) == [(9.0, None)]


def drip(handler: Handler) -> None:
    """A header, then a byte now and then: every single read is quick, the whole never ends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


def stall(handler: Handler) -> None:
    time.sleep(1.0)


def hang_up(handler: Handler) -> None:
    handler.connection.close()


@pytest.mark.parametrize(
    ("how", "reason"), [(stall, "judge_timeout"), (drip, "judge_timeout"), (hang_up, "judge_unreachable")]
)
def test_a_server_that_stalls_costs_no_more_than_its_time(
    server: Script, bench: Bench, how: Callable[[Handler], None], reason: str
) -> None:
    server.reply = lambda body, n: how
    start = time.monotonic()
    assert outcomes(judge(server, timeout=0.3, attempts=2).rate([case()], bench)) == [(None, reason)]
    assert time.monotonic() - start < 2.0


def test_a_dead_server_stops_the_run_instead_of_filling_it_with_gaps(server: Script, bench: Bench) -> None:
    server.reply = lambda body, n: says("[[5]]") if "case 0?" in str(body) else (500, b"")
    cases = [case(f"case {i}") for i in range(30)]
    with pytest.raises(UserError, match=f"no reply to {_chat.DEAD} requests in a row"):
        judge(server, attempts=1).rate(cases, bench)
    assert len(server.seen) <= _chat.DEAD + 3
    server.reply = lambda body, n: says("[[6]]")
    assert outcomes(judge(server).rate(cases, bench)) == [(5.0, None), *[(6.0, None)] * 29]


@pytest.mark.parametrize("status", [401, 404])
def test_wrong_settings_are_an_error_at_once(server: Script, bench: Bench, status: int) -> None:
    server.reply = lambda body, n: (status, b"no")
    with pytest.raises(UserError, match=rf"{status}.*key_env"):
        judge(server).rate([case(str(i)) for i in range(10)], bench)
    assert len(server.seen) <= 3


def test_requests_keep_to_the_rate_and_to_what_the_server_asks(server: Script, bench: Bench) -> None:
    judge(server, per_minute=600, workers=4).rate([case(str(i)) for i in range(4)], bench)
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps) > 0.05

    def busy(handler: Handler) -> None:
        handler.send_response(429)
        handler.send_header("Retry-After", "1")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.times.clear()
    first = len(server.seen) + 1
    server.reply = lambda body, n: busy if n == first else says("[[5]]")
    judge(server).rate([case("later")], bench)
    assert server.times[1] - server.times[0] > 0.9


def test_repeated_ratings_separate_the_judges_noise_from_the_answers(server: Script, bench: Bench) -> None:
    import numpy as np

    server.reply = lambda body, n: says(f"[[{(3 if 'bad' in str(body) else 8) + n % 2}]]")
    cases = [case(str(i), "bad" if i % 2 else "good") for i in range(6)]
    found = judge(server, ratings=4, temperature=1.0).rate(cases, bench)
    assert len(server.seen) == 24
    ratings = np.array([[each.value for each in row] for row in found], dtype=float)
    answer = agreement(ratings)
    assert answer.answer_variance > 6
    assert answer.repeat_variance == pytest.approx(1 / 3)
    with pytest.raises(UserError, match="one rating"):
        judge(server, ratings=2).ready(None)


def test_preferences_are_asked_in_both_orders(server: Script, bench: Bench) -> None:
    def prefers(body: dict, n: int) -> Answer:
        text = body["messages"][1]["content"]
        if "position" in text:
            return says("[[A]]")
        if "equal" in text:
            return says("[[C]]")
        if "mumble" in text:
            return says("Both are fine")
        return says("[[A]]" if text.index("better") < text.index("worse") else "[[B]]")

    server.reply = prefers
    pairs = [
        (case("x", "better"), case("x", "worse")),
        (case("y", "worse"), case("y", "better")),
        (case("z", "position one"), case("z", "position two")),
        (case("u", "equal 1"), case("u", "equal 2")),
        (case("v", "mumble"), case("v", "mumble more")),
    ]
    found = judge(server).prefer(pairs, bench)
    assert [(p.a_first, p.b_first, p.value) for p in found] == [
        ("A", "A", 1.0),
        ("B", "B", 0.0),
        ("A", "B", 0.5),
        ("tie", "tie", 0.5),
        (None, None, None),
    ]
    assert found[-1].reason == "judge_unreadable"
    said = swap_consistency([p.a_first or "" for p in found[:4]], [p.b_first or "" for p in found[:4]])
    assert said.inconsistent.estimate == 0.25


def test_prompts_of_ones_own_replace_the_words(server: Script, bench: Bench, tmp_path: Path) -> None:
    rows = [
        {"name": "single-v1", "system_prompt": "S", "prompt_template": "Q {question} A {answer}"},
        {
            "name": "single-math-v1-multi-turn",
            "system_prompt": "M",
            "prompt_template": "{question_2} {ref_answer_2} {answer_1} {answer_2}",
        },
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = judge(server, prompts=str(tmp_path / "p.jsonl"))
    turns = (Turn("user", "q1"), Turn("assistant", "a1"), Turn("user", "q2"))
    own.rate([case("x"), Case("y", turns, "a2", ("r1", "r2"), "coding")], bench)
    assert [m["content"] for m in server.seen[0]["messages"]] == ["S", "Q What is 2+2, x? A Four."]
    assert [m["content"] for m in server.seen[1]["messages"]] == ["M", "q2 r2 a1 a2"]
    with pytest.raises(UserError, match="single-math-v1"):
        own.rate([case("z", references=("4",))], bench)
