"""A study of masked-diffusion methods as tables and sentences: the same in the terminal, in Markdown, on the page."""

from collections.abc import Iterator, Sequence

from netgain.report.denoised import Denoised, Method
from netgain.stats.power import Mde
from netgain.stats.result import Estimate, say, say_range
from netgain.stats.verdict import Verdict

Block = tuple[str, Sequence[str], list[list[str]], list[str]]
HIDDEN = "▢"
MASKS = ("[MASK]", "<mask>", "<|mdm_mask|>")


def blocks(found: Denoised) -> Iterator[Block]:
    """The summary first, then every run, the diagnostics, the costs, and how one answer came about."""
    yield _summary(found)
    yield _against(found)
    yield _tasks(found)
    if found.interference:
        yield _matrix(found)
    yield _costs(found)
    yield _same(found)
    yield _diagnostics(found)
    yield _runs(found)
    if found.strips:
        yield _strips(found)


def _summary(found: Denoised) -> Block:
    rows = [
        [each.arm, each.role, _said(each.macro), "-" if each.best is None else _said(each.best), f"{each.seeds}",
         f"{each.macro.n}", f"{each.trainable:,}", _percent(each.share, 2)]
        for each in found.methods
    ]  # fmt: skip
    rows.append(["always the commonest label", "control", _percent(found.majority), "-", "-", "-", "0", "-"])
    columns = ("arm", "what for", "macro accuracy, final", "best by dev", "seeds", "items", "learned", "of the base")
    tasks = ", ".join(group.name for group in found.groups)
    said = [f"Macro accuracy is the mean over {tasks}, by likelihood, with 95 % intervals by seeds x items."]
    dead = [f"{each.arm} seed {each.seed} ({each.dead})" for each in found.runs if each.dead is not None]
    said.append(f"Dead runs, in no mean: {'; '.join(dead) or 'none'}.")
    return "What each method learned", columns, rows, said


def _against(found: Denoised) -> Block:
    rows = [
        [each.arm, _verdict(each.against_control), _verdict(each.against_first)]
        for each in found.methods
        if each.against_control is not None or each.against_first is not None
    ]
    control = found.control or "no control"
    columns = ("arm", f"against {control} (sees no input)", f"against {found.first}")
    said = ["Differences of macro accuracy in points; exploratory, each interval is of one comparison."]
    tight = [each.against_first.mde for each in found.methods if each.against_first and each.against_first.mde]
    if tight:
        said.append(_resolution(found.first, max(tight, key=lambda mde: mde.mde)))
    return "Against the control that sees no input, and among methods", columns, rows, said


def _resolution(first: str, widest: Mde) -> str:
    """What the widest of the intervals against the first method leaves undecided."""
    if not widest.attainable:
        return (
            f"Against {first} some intervals of {widest.seeds} seeds are so wide that no difference at all would be "
            "found 80 % of the time: take more seeds."
        )
    return (
        f"Against {first} the smallest difference that would be found 80 % of the time is up to {100 * widest.mde:.1f} "
        "points: smaller ones cannot be told apart here."
    )


def _tasks(found: Denoised) -> Block:
    metrics = {"accuracy": "accuracy", "f1": "F1", "mcc": "MCC"}
    held = [
        (group.name, metric)
        for group in found.groups
        for metric in metrics
        if any(metric in each.scores[group.name] for each in found.methods)
    ]
    rows = [[each.arm, *(_maybe(each.scores[task].get(metric)) for task, metric in held)] for each in found.methods]
    columns = ("arm", *(f"{task} {metrics[metric]}" for task, metric in held))
    return "Task by task, final checkpoint", columns, rows, []


def _matrix(found: Denoised) -> Block:
    tasks = list(dict.fromkeys(each.task for each in found.interference))
    rows = [
        [learned, *(_said(each.accuracy) for each in found.interference if each.learned == learned)]
        for learned in dict.fromkeys(each.learned for each in found.interference)
    ]
    said = ["A single-task arm sees as many rows of its task as the joint one does, in fewer steps."]
    return "Interference: learned from, by measured on", ("learned from", *tasks), rows, said


def _costs(found: Denoised) -> Block:
    rows = [
        [each.arm, f"{each.trainable:,}", _percent(each.share, 2), _number(each.flops), _times(each.slower),
         _said(each.macro)]
        for each in found.methods
    ]  # fmt: skip
    columns = ("arm", "learned", "of the base", "operations a token", "seconds over the base's", "macro accuracy")
    said = [f"On the front, nothing else learns fewer numbers and scores more: {', '.join(front(found.methods))}."]
    return "What each method costs", columns, rows, said


def front(methods: Sequence[Method]) -> list[str]:
    """The arms that see input of which no other has both fewer parameters and a higher macro accuracy."""
    real = [each for each in methods if each.role in ("method", "composed") and each.trainable > 0]
    return [
        a.arm
        for a in real
        if not any(
            b.trainable <= a.trainable and b.macro.estimate >= a.macro.estimate and b is not a
            and (b.trainable, b.macro.estimate) != (a.trainable, a.macro.estimate)
            for b in real
        )
    ]  # fmt: skip


def _same(found: Denoised) -> Block:
    rows = [[name, "the same" if len(values) == 1 else "differs", "; ".join(map(_brief, values))]
            for name, values in found.settings]  # fmt: skip
    differing = [name for name, values in found.settings if len(values) > 1]
    said = [f"Between joint arms only this differs besides the method: {', '.join(differing) or 'nothing'}."]
    return "What is held equal", ("setting", "over joint arms", "value"), rows, said


def _diagnostics(found: Denoised) -> Block:
    rows = [
        [each.arm, _maybe(each.tokens), _maybe(each.written), _percent(each.unparsed), _said(each.macro)]
        for each in found.methods
    ]
    columns = ("arm", "hidden tokens filled in", "accuracy as written", "of it unreadable", "macro accuracy")
    said = [
        "Token accuracy counts the token that ends an answer and its padding, so that much of it needs no input: read "
        "it beside the control's. Masks are fixed. An unreadable answer is wrong, and no label is assumed for it."
    ]
    return "Diagnostics: tokens and writing", columns, rows, said


def _runs(found: Denoised) -> Block:
    rows = [
        [each.arm, "-" if each.seed is None else f"{each.seed}", _percent(each.best), _percent(each.final),
         _percent(each.tokens), _percent(each.written), each.dead or "finished"]
        for each in found.runs
    ]  # fmt: skip
    columns = ("arm", "seed", "best by dev", "final", "tokens", "written", "state")
    return "Every run: macro accuracy, token accuracy, accuracy as written", columns, rows, []


def _strips(found: Denoised) -> Block:
    most = max(len(each.rounds) for each in found.strips)
    rows = []
    for each in found.strips:
        states = [" ".join(HIDDEN if token in MASKS else token for token in tokens) for tokens in each.rounds]
        rows.append([each.arm, *states, *["-"] * (most - len(states))])
    first = found.strips[0]
    asked = found.prompts.get(first.item, "").replace("\n", " / ")
    said = [f'{first.item}, first seed: "{asked}" The right answer: {first.gold}. {HIDDEN} is a hidden token.']
    columns = ("arm", "at first", *(f"round {i}" for i in range(1, most)))
    return "How one answer is written, round by round", columns, rows, said


def _said(found: Estimate) -> str:
    return f"{say(found.estimate, found.scale)} ({say_range(found.low, found.high, found.scale)})"


def _maybe(found: Estimate | None) -> str:
    return "-" if found is None else _said(found)


def _verdict(found: Verdict | None) -> str:
    if found is None:
        return "-"
    answer = found.answer
    return f"{found.word}: {100 * answer.estimate:+.1f} ({100 * answer.low:+.1f} to {100 * answer.high:+.1f})"


def _percent(share: float | None, digits: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} x"


def _brief(value: str) -> str:
    return value if len(value) <= 60 else value[:57] + "..."
