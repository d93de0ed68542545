"""Replies: posts in halves that never meet their own training rows, and likeness to what people wrote."""

from pathlib import Path

import pytest

from netgain.measure.embedder import embedder
from netgain.tasks._base import Generated, Score
from netgain.tasks.replies import Replies

POST = "@user What a long day this was and now it rains again on all of us https://t.co/x"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tweeteval" / "sentiment"
    folder.mkdir(parents=True)
    (folder / "test_text.txt").write_text(f"{POST}\ntoo short\n", encoding="utf-8")
    other = POST.replace("rains", "snows").replace("What", "Such")
    (folder / "val_text.txt").write_text(f"{POST.replace('again', 'today')}\n{other}\n", encoding="utf-8")
    monkeypatch.setenv("NETGAIN_DATA", str(tmp_path))
    return tmp_path


def test_a_post_is_asked_for_by_its_first_half(data: Path) -> None:
    task = Replies(source=None)
    (row,) = task.examples(None)
    assert row.turns[0].text == "Finish this post.\n\nWhat a long day this was and"
    assert row.answer == "now it rains again on all of us"
    (train,) = task.train_examples(None)
    assert train.turns[0].text.startswith("Finish this post.\n\nSuch a long"), "the row that is measured is left out"


def likeness(task: Replies, *written: str) -> float | None:
    (row,) = task.examples(None)
    scores: list[Score] = task.score_set(row, [Generated(text, 5, False) for text in written])
    return next(each.value for each in scores if each.metric == "hashed_likeness")


def test_likeness_is_to_the_nearest_reference_and_nothing_is_like_none(data: Path) -> None:
    task, own = Replies(source=None), "now it rains again on all of us"
    assert likeness(task, own, own) == pytest.approx(1.0)
    assert likeness(task, own, "") == pytest.approx(0.5)
    one, other = embedder("hashed")([own, "it rains cats"])
    assert likeness(task, own, "it rains cats") == pytest.approx((1 + float(one @ other)) / 2)
    assert "hashed_likeness" in task.metrics
