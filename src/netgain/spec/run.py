"""A Run: a pure function of one frozen spec. How and where it executes is `Runtime`, which never enters its sig."""

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from netgain.errors import did_you_mean
from netgain.spec.denoise import Denoise
from netgain.spec.plugin import Frozen, MethodPlugin, ReferencePlugin, TaskPlugin, TermPlugin
from netgain.spec.stop import Retain

BASE = "base"
"""The reference that every run has: its own model with the adapter switched off."""


class SpecError(ValueError):
    """A wrong value found by looking at several fields at once; `loc` says where."""

    def __init__(self, message: str, *loc: str | int) -> None:
        super().__init__(message)
        self.loc = loc


class RunRef(Frozen):
    """Another run of the study by the name of its arm, at the same seed; once the study is expanded, by its sig.

    Only the sig is part of a run's identity, so what an arm is called decides nothing.
    """

    arm: str | None = None
    sig: str | None = Field(default=None, pattern=r"^[0-9a-f]{16}$")

    @model_validator(mode="after")
    def _one_name(self) -> "RunRef":
        if (self.arm is None) == (self.sig is None):
            raise SpecError("names a run by its arm or by its sig")
        return self


class ModelSpec(Frozen):
    """Which base model. In a study file a bare string is the id.

    A masked language model is a denoiser: `denoise` says how its answers are corrupted and written.
    """

    id: str
    dtype: Literal["float32", "bfloat16"] = "float32"
    template: Literal["chat", "plain"] = "chat"
    chat_template: str | None = None
    quantise: Literal["4bit"] | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    config: dict[str, Any] = Field(default_factory=dict)
    denoise: Denoise | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_id(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value


class EmbeddedSource(Frozen):
    """Rows of a suite that netgain generates itself; `convention` is how its answers are written, if not as usual."""

    kind: Literal["embedded"]
    suite: str
    n: PositiveInt = 1000
    seed: int = 0
    convention: str | None = None


class RowSource(Frozen):
    """What every table of rows shares: templates over its fields.

    `prompt` and `answer` are templates ("Review: {sentence}\\nSentiment:") or, without braces, field names.
    An empty prompt makes documents: general text, behind nothing. `messages` names a field that holds a chat instead.
    `labels` maps raw values to the words to be learned. `where` keeps the rows whose fields have these values.
    """

    prompt: str | None = None
    answer: str | None = None
    messages: str | None = None
    system: str | None = None
    labels: dict[str, str] | None = None
    id: str | None = None
    group: str | None = None
    where: dict[str, str] = Field(default_factory=dict)
    limit: PositiveInt | None = None
    shuffle_seed: int | None = None

    @model_validator(mode="after")
    def _prompt_or_messages(self) -> "RowSource":
        if (self.messages is None) == (self.prompt is None or self.answer is None):
            raise SpecError("needs either prompt and answer, or messages")
        return self


class JsonlSource(RowSource):
    kind: Literal["jsonl"]
    path: str


class CsvSource(RowSource):
    kind: Literal["csv"]
    path: str
    separator: str | None = None
    header: tuple[str, ...] | None = None


class ParquetSource(RowSource):
    kind: Literal["parquet"]
    path: str


class HfSource(RowSource):
    """A Hugging Face dataset by id."""

    kind: Literal["hf"]
    path: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None


Source = Annotated[EmbeddedSource | JsonlSource | CsvSource | ParquetSource | HfSource, Field(discriminator="kind")]
Task = SerializeAsAny[Annotated[TaskPlugin, BeforeValidator(TaskPlugin.parse)]]


class TaskSource(Frozen):
    """The training rows of a task: its very prompts and answers, none of whose groups it measures.

    `limit` takes a random subset, drawn by `seed`; a smaller one is part of a larger one.
    """

    kind: Literal["task"]
    task: Task
    limit: PositiveInt | None = None
    seed: int = 0


DataSource = Annotated[
    EmbeddedSource | JsonlSource | CsvSource | ParquetSource | HfSource | TaskSource, Field(discriminator="kind")
]


class DataSpec(Frozen):
    """What is learned from: named sources, their mixture, and what is held out for choosing a checkpoint.

    `mixture` gives each source's share of `rows`; without it every row of every source is used once. `temperature` T
    balances sources instead, share ~ size^(1/T), and repeats the rows of one that is too small, each equally often.
    `dev` is a fraction (below 1) or a number of rows, held out by group from all sources together; the same rows for
    every seed of a run.
    """

    sources: dict[str, DataSource] = Field(min_length=1)
    mixture: dict[str, float] | None = None
    temperature: float | None = Field(default=None, ge=1)
    rows: PositiveInt | None = None
    dev: float = Field(default=0.1, ge=0)
    max_len: PositiveInt = 512
    truncate: Literal["error", "left", "drop"] = "error"

    @field_validator("sources", mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        """A source that an arm or a scale sets to null is not there."""
        return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _mixture_names_sources(self) -> "DataSpec":
        for name, share in (self.mixture or {}).items():
            if name not in self.sources:
                raise SpecError(f'"{name}" is no source; sources are {", ".join(self.sources)}', "mixture", name)
            if share < 0:
                raise SpecError("a share cannot be negative", "mixture", name)
        if self.mixture is not None and (self.rows is None or sum(self.mixture.values()) <= 0):
            raise SpecError("a mixture needs `rows` and a positive share", "mixture")
        if self.temperature is not None and (self.rows is None or self.mixture is not None):
            raise SpecError("needs `rows`, and no mixture beside it", "temperature")
        return self


class Schedule(Frozen):
    """A weight over progress p in [0, 1]: 0 before `start`, a ramp of length `warmup` to `value`, held, then a ramp
    from `decay` down to 0 at 1."""

    value: float
    start: float = Field(default=0.0, ge=0, le=1)
    warmup: float = Field(default=0.0, ge=0, le=1)
    decay: float = Field(default=1.0, ge=0, le=1)


class Ratio(Frozen):
    """w = ratio * EMA(|raw of `to`|) / EMA(|raw of this term|), at most `maximum`; 0 until both have been seen once.

    So a term whose scale nobody knows weighs `ratio` times as much as the other. No gradient goes through it.
    """

    ratio: float = Field(gt=0)
    to: str = "ce"
    decay: float = Field(default=0.9, ge=0, lt=1)
    maximum: float = Field(default=100.0, gt=0)


class Learned(Frozen):
    """w = maximum * sigmoid(theta), where every so many steps theta descends the cross-entropy of a dev batch:
    d CE_dev / dw = -(g_dev . g_term), to first order in the step size.

    `per: source` learns one weight for each of the data's sources (tasks, in a mixture of them): the term is divided
    into one over each source's own tokens, called after both, as kd-nli and kd-qa.
    """

    maximum: float = Field(gt=0)
    initial: float = Field(gt=0)
    every: PositiveInt = 10
    learning_rate: float = Field(default=0.05, gt=0)
    per: Literal["run", "source"] = "run"

    @model_validator(mode="after")
    def _inside(self) -> "Learned":
        if self.initial >= self.maximum:
            raise SpecError("must lie below `maximum`", "initial")
        return self


class Budget(Frozen):
    """A weight that holds the term near `target`: w <- w * (1 + gain * clip((raw - target) / target, -0.2, 0.2))."""

    target: float = Field(gt=0)
    initial: float = Field(default=0.1, gt=0)
    gain: float = Field(default=0.1, gt=0, le=1)
    maximum: float = Field(default=100.0, gt=0)


Weight = float | Schedule | Ratio | Learned | Budget


class Last(Frozen):
    """The last so many of each row's own scored tokens; a shorter row gives all it has."""

    last: PositiveInt


class Share(Frozen):
    """A random share of the scored tokens, drawn anew at every step."""

    share: float = Field(gt=0, lt=1)


class FromSource(Frozen):
    """The scored tokens of rows that one of the data's sources gave: what is learned from some rows, what is held to a
    reference on others. `content` leaves out the template's own."""

    source: str
    content: bool = False


Tokens = Literal["all", "content"] | Last | Share | FromSource


Method = SerializeAsAny[Annotated[MethodPlugin, BeforeValidator(MethodPlugin.parse)]]
Term = SerializeAsAny[Annotated[TermPlugin, BeforeValidator(TermPlugin.parse)]]
Reference = SerializeAsAny[Annotated[ReferencePlugin, BeforeValidator(ReferencePlugin.parse)]]


class Weighted(Frozen):
    """One named term of the objective with its weight, and which of the scored tokens it sees."""

    term: Term
    weight: Weight = 1.0
    tokens: Tokens = "all"

    @model_validator(mode="before")
    @classmethod
    def _from_kind(cls, value: Any) -> Any:
        return {"term": value} if isinstance(value, str) else value


class OptimSpec(Frozen):
    """AdamW and its schedule; `batch` is the number of examples in one optimiser step."""

    learning_rate: float = Field(gt=0)
    steps: PositiveInt
    batch: PositiveInt = 16
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: NonNegativeInt = 0
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    clip: float | None = Field(default=1.0, gt=0)


class DevSpec(Frozen):
    """When the dev loss is measured, and when it stops the run. Without `every`, best is final.

    `best`: whether the checkpoint of the lowest dev loss is measured on every task, beside the final one.
    """

    every: PositiveInt | None = None
    best: bool = True
    patience: PositiveInt | None = None
    min_delta: float = Field(default=0.0, ge=0)


class Run(Frozen):
    """model, method, data, objective, optimiser, tasks, seed: all that decides a result."""

    model: ModelSpec
    method: Method
    data: DataSpec
    objective: dict[str, Weighted] = Field(default_factory=lambda: {"ce": Weighted.model_validate("ce")}, min_length=1)
    optim: OptimSpec
    dev: DevSpec = DevSpec()
    stop: Retain | None = None
    tasks: dict[str, Task] = Field(min_length=1)
    references: dict[str, Reference] = Field(default_factory=dict)
    adapter_scales: tuple[float, ...] = ()
    seed: int = 0

    @model_validator(mode="after")
    def _terms_name_references(self) -> "Run":
        known = {BASE, *self.references}
        for name, weighted in self.objective.items():
            for missing in sorted(weighted.term.needs - known):
                message = f'"{missing}" is no reference.{did_you_mean(missing, known)} Declare it under `references`.'
                raise SpecError(message, "objective", name, "term", "reference")
        if BASE in self.references and self.references[BASE].kind != BASE:
            raise SpecError('"base" is always the model without its adapter; choose another name', "references", BASE)
        return self

    @model_validator(mode="after")
    def _tokens_name_sources(self) -> "Run":
        known = set(self.data.sources)
        for name, weighted in self.objective.items():
            if isinstance(weighted.tokens, FromSource) and weighted.tokens.source not in known:
                missing = weighted.tokens.source
                message = (
                    f'"{missing}" is no source.{did_you_mean(missing, known)} They are {", ".join(sorted(known))}.'
                )
                raise SpecError(message, "objective", name, "tokens", "source")
        return self

    @model_validator(mode="after")
    def _stop_rule_is_evaluated(self) -> "Run":
        rule = self.stop
        if rule is not None and rule.task not in self.tasks:
            raise SpecError(f'"{rule.task}" is no task.{did_you_mean(rule.task, set(self.tasks))}', "stop", "task")
        metrics: tuple[str, ...] = () if rule is None else getattr(self.tasks[rule.task], "item_metrics", ())
        if rule is not None and metrics and rule.metric not in metrics:
            message = f'task {rule.task} gives no item a "{rule.metric}"; it gives {", ".join(metrics)}'
            raise SpecError(message, "stop", "metric")
        if rule is not None and self.method.learns and rule.looks(self.optim.steps) == 0:
            message = f"is due every {rule.every} steps, so never within {self.optim.steps}; look earlier"
            raise SpecError(message, "stop", "every")
        return self

    @field_validator("tasks", "objective", "references", mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        """A name that an arm or a scale sets to null is not there."""
        return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value

    @field_validator("tasks", "objective", "references")
    @classmethod
    def _plain_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not name.replace("_", "").replace("-", "").isalnum():
                raise SpecError("a name is letters, digits, - and _", name)
        return value

    @field_validator("adapter_scales")
    @classmethod
    def _parts_of_an_adapter(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) < len(value) or not all(0 <= scale <= 1.5 for scale in value):
            raise SpecError("are different shares of the adapter, from 0 (the base) to 1 (all of it) or a little more")
        return value

    @field_validator("objective")
    @classmethod
    def _weights_of_sources_see_whole_rows(cls, value: dict[str, Weighted]) -> dict[str, Weighted]:
        divided = {n for n, each in value.items() if isinstance(each.weight, Learned) and each.weight.per == "source"}
        for name, each in value.items():
            if name in divided and each.tokens not in ("all", "content"):
                raise SpecError('a weight for each source sees the tokens "all" or "content"', name, "tokens")
            if isinstance(each.weight, Ratio) and each.weight.to in divided:
                raise SpecError(
                    f'"{each.weight.to}" is one term for each source; compare with another', name, "weight", "to"
                )
        return value

    @field_validator("objective")
    @classmethod
    def _ratios_name_terms(cls, value: dict[str, Weighted]) -> dict[str, Weighted]:
        for name, each in value.items():
            if isinstance(each.weight, Ratio) and each.weight.to not in set(value) - {name}:
                raise SpecError(f'"{each.weight.to}" is no other term of the objective', name, "weight", "to")
        return value


class Runtime(Frozen):
    """Where and how a run executes. Nothing here may change its result, so nothing here enters the sig.

    `probe_every` so many steps each term's own gradient is measured: about ten times a run unless given, which costs
    a backward pass a term.
    `teacher_dtype` is how a reference's numbers are kept on disk. float32 loses nothing; bfloat16 halves the size and
    keeps three digits of each, so results differ in about the third digit of the distillation term.
    `pack` arms that share all but objective and optimiser train and are measured together: as many as memory allows,
    that many, or none.
    `generate_with` vllm lets greedy answers be written by another engine, once it writes what the network does.
    `shard` the base's layers over the processes of torchrun, so that no process has all of them.
    `claim_seconds` without a beat after which a run is taken from the process that holds it (ledger/claims.py).
    """

    device: str = "auto"
    micro_batch: PositiveInt | None = None
    eval_batch: PositiveInt = 16
    chunk: PositiveInt = 256
    threads: PositiveInt | None = None
    gradient_checkpointing: bool = False
    probe_every: PositiveInt | None = None
    teacher_dtype: Literal["float32", "bfloat16"] = "float32"
    checkpoint_seconds: float = Field(default=30.0, ge=0)
    pack: Literal["auto", "off"] | PositiveInt = "auto"
    claim_seconds: float | None = Field(default=60.0, gt=0)
    generate_with: Literal["network", "vllm"] = "network"
    shard: bool = False
