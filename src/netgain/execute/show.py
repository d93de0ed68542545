"""What a person sees before and while runs execute: the plan as tables, the runs as live lines."""

from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from netgain.execute.events import Board, Event, Status
from netgain.execute.plan import Plan
from netgain.report.console import console, plain_table
from netgain.report.words import seconds

STATE_STYLE = {
    "done": "green",
    "missing": "dim",
    "running": "cyan",
    "failed": "red",
    "corrupt": "red",
    "drifted": "red",
}
REDRAW_SECONDS = 0.25


def show_plan(plan: Plan) -> None:
    """Runs, totals, detectable effects and warnings."""
    out = console()
    runs = plain_table("run", "arm", "seed", "state", "steps", "tokens", right=("seed", "steps", "tokens"))
    for run in plan.runs:
        state = Text(run.state, style=STATE_STYLE.get(run.state, ""))
        if run.note:
            state.append(f" ({run.note})", style="dim")
        if run.needs and run.state != "done":
            state.append(f" (after {_some(run.needs)})", style="dim")
        seed = "-" if run.seed is None else str(run.seed)
        tokens = f"{'~' if run.estimated and run.tokens else ''}{run.tokens or 0:,}"
        runs.add_row(run.sig[:8], run.arm, seed, state, str(run.steps), tokens)
    out.print(runs)
    counts = {state: sum(r.state == state for r in plan.runs) for state in dict.fromkeys(r.state for r in plan.runs)}
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    out.print(
        f"\n{plan.study}: {len(plan.runs)} runs ({summary}); {sum(r.steps for r in plan.runs):,} steps, "
        f"about {sum(r.tokens or 0 for r in plan.runs):,} tokens in all."
    )
    waiting = [run for run in plan.runs if run.answers and run.state != "done"]
    if waiting:
        answers, tokens = sum(run.answers for run in waiting), sum(run.answer_tokens for run in waiting)
        most = max(waiting, key=lambda run: run.answers)
        out.print(
            f"Sampled while learning: {answers:,} answers, at most {tokens:,} tokens, in {len(waiting)} runs "
            f"(most: {most.arm}, {most.answers:,} answers)."
        )
    if plan.estimate:
        out.print(f"Left: {plan.estimate.sentence}")
    for reference in plan.references:
        out.print(f"  {reference.sentence}")
    for found in plan.detectable:
        out.print(f"  {found.arm} vs {found.versus}, {found.task}/{found.metric}: {found.sentence}")
    for warning in plan.warnings:
        out.print(Text(f"warning: {warning}", style="yellow"))


def _some(needs: tuple[str, ...]) -> str:
    """The first needed runs by the beginning of their sigs, and how many more there are."""
    first = ", ".join(sig[:8] for sig in needs[:2])
    return f"{first} and {len(needs) - 2} more" if len(needs) > 2 else first


class Live:
    """Live lines on a terminal, one printed line a finished run when piped."""

    def __init__(self, board: Board, title: str) -> None:
        self.board = board
        self.title = title
        self.out = console()
        self.screen = RichLive(console=self.out, auto_refresh=False, transient=True) if self.out.is_terminal else None
        self.drawn = 0.0

    def __enter__(self) -> "Live":
        total = len(self.board.runs) + self.board.finished_before
        self.out.print(f"{self.title}: {total} runs, {self.board.finished_before} finished before.")
        if self.screen:
            self.screen.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.screen:
            self.screen.stop()
        took = self.board.clock() - self.board.started
        self.out.print(f"{self.board.count('done')} done, {self.board.count('failed')} failed, in {seconds(took)}.")

    def on(self, event: Event) -> None:
        """Take in one event, and show it."""
        status = self.board.update(event)
        if event.kind in ("done", "failed"):
            self.out.print(
                Text(f"  {_name(status)}: {event.text or event.kind}", style=STATE_STYLE.get(event.kind, ""))
            )
        if self.screen and (self.board.clock() - self.drawn > REDRAW_SECONDS or event.kind in ("done", "failed")):
            self.drawn = self.board.clock()
            self.screen.update(self._lines(), refresh=True)

    def _lines(self) -> Table:
        table = plain_table("run", "phase", "step", "loss", "tokens/s", right=("step", "loss", "tokens/s"))
        for status in self.board.runs.values():
            event = status.event
            if event.kind in ("load", "train", "measure") and (event.total or event.text):
                loss = "" if event.loss is None else f"{event.loss:.3f}"
                rate = "" if event.tokens_per_second is None else f"{event.tokens_per_second:,.0f}"
                table.add_row(_name(status), event.text or event.kind, _place(event), loss, rate)
        done = self.board.count("done") + self.board.count("failed")
        left = self.board.seconds_left()
        table.add_row(
            f"{done} of {len(self.board.runs)} runs",
            f"{self.board.fraction:.0%}",
            "" if left is None else f"{seconds(left)} left",
            "",
            "",
            style="bold",
        )
        return table


def _place(event: Event) -> str:
    """Steps are counted, measuring is a share."""
    if not event.total:
        return ""
    return f"{event.done}/{event.total}" if event.kind == "train" else f"{event.done / event.total:.0%}"


def _name(status: Status) -> str:
    return status.arm if status.seed is None else f"{status.arm} seed {status.seed}"
