"""A reward model is read as it is: its own template, its raw logit, one conversation at a time or many."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.execute.judge import train_judge
from netgain.judges._base import Bench, Case, fold
from netgain.judges._reward import RewardModel, render
from netgain.judges.overlap import Overlap
from netgain.judges.reward import Reward
from netgain.training.judge import Plan, encode_pairs, fit, load_encoder, margins, read_pairs, save

torch.set_num_threads(1)
KIND = ("thank you", "gladly", "of course", "with pleasure")
RUDE = ("go away", "no", "never", "stop asking")


def pairs(folder: Path, n: int = 64) -> Path:
    """Kind answers are preferred to rude ones, whatever is asked."""
    rows = [
        {"prompt": f"please help me with thing {i}", "chosen": KIND[i % 4], "rejected": RUDE[i // 4 % 4]}
        for i in range(n)
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@cache
def untrained() -> RewardModel:
    return RewardModel(*load_encoder("tiny-mlm", 0), "tiny")


def case(answer: str, *before: str) -> Case:
    roles = ("user", "assistant")
    return Case("c", tuple(Turn(roles[i % 2], text) for i, text in enumerate(before or ("hello there",))), answer)


def test_a_judge_learns_preferences_is_saved_and_judges_as_it_was_measured(tmp_path: Path) -> None:
    plan = Plan(epochs=3, batch=8, learning_rate=1e-3, max_len=64)
    made = train_judge(str(pairs(tmp_path)), tmp_path / "judge", "tiny-mlm", plan, 0.25)
    assert made.after.accuracy.estimate > 0.9
    assert made.after.log_loss < made.before.log_loss
    card = json.loads((tmp_path / "judge" / "judge.json").read_text())
    assert card["pairs"]["train"] + card["pairs"]["held_out"] == 64
    assert card["trained"]["accuracy"]["low"] > 0.5
    assert sum(each["n"] for each in card["trained"]["bins"]) == card["pairs"]["held_out"]
    judge = Reward.model_validate({"kind": "reward", "model": str(tmp_path / "judge")})
    judge.ready(None)
    bench = Bench(None, tmp_path)
    kind, rude = judge.rate([case("thank you", "please help me with thing 99"), case("go away", "please help")], bench)
    assert kind[0].value is not None
    assert rude[0].value is not None
    assert kind[0].value > rude[0].value
    with pytest.raises(UserError, match="exists already"):
        train_judge(str(pairs(tmp_path)), tmp_path / "judge", "tiny-mlm", plan, 0.25)


def test_the_score_is_the_raw_logit_of_the_models_own_rendering() -> None:
    model = untrained()
    asked = case("a fine answer", "one", "two", "three")
    messages = [{"role": t.role, "content": t.text} for t in asked.turns]
    text = model.tok.apply_chat_template([*messages, {"role": "assistant", "content": "a fine answer"}], tokenize=False)
    assert isinstance(text, str)
    with torch.no_grad():
        logit = model.net(**model.tok(text, add_special_tokens=False, return_tensors="pt")).logits
    assert model.rate([asked], None, 4)[0].value == pytest.approx(logit.item(), abs=1e-6)


def test_a_rating_depends_on_no_other_conversation() -> None:
    model = untrained()
    cases = [case("word " * n) for n in (1, 30, 7, 90, 2)]
    alone = [model.rate([each], None, 1)[0].value for each in cases]
    for batch in (2, 5):
        assert [each.value for each in model.rate(cases, None, batch)] == pytest.approx(alone, abs=1e-5)


def test_the_beginning_is_cut_and_the_answer_never() -> None:
    model = untrained()
    whole = render(model.tok, case("the end", "first " * 40).turns, "the end")
    cut = whole.within(30)
    assert cut is not None
    assert len(cut) == 30
    assert cut[0] == whole.ids[0] == model.tok.cls_token_id
    assert cut[1:] == whole.ids[-29:]
    answer = model.tok.encode("the end", add_special_tokens=False)
    assert "the end" in str(model.tok.decode(cut))
    assert whole.within(len(answer)) is None
    ratings = model.rate([case("the end", "first " * 400), case("end " * 400)], None, 2)
    assert ratings[0].value is not None
    assert (ratings[1].value, ratings[1].reason) == (None, "judge_too_long")


def test_training_is_the_same_whenever_it_is_run(tmp_path: Path) -> None:
    def once() -> tuple[list[float], list[float]]:
        net, tok = load_encoder("tiny-mlm", 3)
        found, dropped = encode_pairs(tok, read_pairs(pairs(tmp_path, 16)), 64)
        assert not dropped
        torch.rand(7)
        losses = list(fit(net, found, Plan(epochs=1, batch=4, max_len=64, seed=3)))
        return losses, margins(net, found, 4).tolist()

    assert once() == once()


def test_the_loss_is_bradley_terrys(tmp_path: Path) -> None:
    net, tok = load_encoder("tiny-mlm", 0)
    found, _ = encode_pairs(tok, read_pairs(pairs(tmp_path, 8)), 64)
    expected = -torch.nn.functional.logsigmoid(torch.tensor(margins(net, found, 8))).mean()
    assert next(fit(net, found, Plan(epochs=1, batch=8, max_len=64))) == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [{"role": "user", "content": "q"}], "chosen": "good", "rejected": "bad"},
        {
            "prompt": "q",
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
            "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}],
        },
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
    ],
)
def test_every_common_form_of_a_pair_is_read_alike(row: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps([row]))
    (pair,) = read_pairs(tmp_path / "p.json")
    assert pair.turns == (Turn("user", "q"),)
    assert (pair.answer, pair.meta["rejected"]) == ("good", "bad")


@pytest.mark.parametrize("row", [{"prompt": "q", "chosen": "a", "rejected": "a"}, {"prompt": "q", "chosen": "a"}])
def test_what_is_no_pair_is_named_by_its_line(row: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n' + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"p\.jsonl:2: .*pair"):
        read_pairs(path)


def test_an_untrained_head_is_no_judge(tmp_path: Path) -> None:
    from netgain.models import embedded

    with pytest.raises(UserError, match="no reward model"):
        RewardModel.load(str(embedded.path("tiny-mlm")), "float32", None, "cpu")
    net, tok = load_encoder("tiny-mlm", 0)
    tok.chat_template = None
    save(net, tok, tmp_path / "bare")
    with pytest.raises(UserError, match="no chat template"):
        RewardModel.load(str(tmp_path / "bare"), "float32", None, "cpu")


def test_overlap_counts_words_and_says_where_it_cannot(tmp_path: Path) -> None:
    right = Case("c", (Turn("user", "q"),), "The cat sat.", ("a cat sat down",))
    ((rating,), (none,)) = Overlap().rate([right, Case("d", (Turn("user", "q"),), "x")], Bench(None, tmp_path))
    assert rating.value == pytest.approx(0.8)
    assert (none.value, none.reason) == (None, "no_reference")


def seed_map(r: float) -> float:
    """The map that a study's reward scores went through: three branches that do not meet."""
    z = (r + 5) / 10 if r < 0 else r if r <= 1 else min(1.0, r / 5)
    return min(max(1 + 9 * z, 1.0), 10.0)


def test_a_score_map_that_turns_back_is_found() -> None:
    grid = [i / 10 for i in range(-60, 61)]
    found = fold([(r, seed_map(r)) for r in grid])
    assert found is not None
    assert found[0] < found[2]
    assert found[1] > found[3]
    assert fold([(r, max(1.0, min(10.0, 5 + r))) for r in grid]) is None


def test_a_plan_with_judges_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from netgain.spec.plugin import JudgePlugin\n"
        "kinds = JudgePlugin.kinds()\n"
        "[JudgePlugin.resolve(kind) for kind in kinds]\n"
        "sys.exit('torch' in sys.modules or set(kinds) != {'endpoint', 'overlap', 'reward'})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
