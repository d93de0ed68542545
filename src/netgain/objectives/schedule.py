"""A term's weight: constant, over progress p in [0, 1], or found while training from what was seen before.

The state of a weight that is found is a few floats, so that a checkpoint keeps it exactly.
"""

import math

from netgain.spec.run import Budget, Learned, Ratio, Schedule, Weight

CLIP = 0.2
BETAS = (0.9, 0.999)
EPS = 1e-12

State = dict[str, float]


def weight_at(weight: float | Schedule, progress: float) -> float:
    """w(p) = 0 for p < start, else value * min(1, (p - start) / warmup, (1 - p) / (1 - decay))."""
    if not isinstance(weight, Schedule):
        return weight
    if progress < weight.start:
        return 0.0
    rise = (progress - weight.start) / weight.warmup if weight.warmup else 1.0
    fall = (1.0 - progress) / (1.0 - weight.decay) if weight.decay < 1 else 1.0
    return weight.value * min(1.0, rise, fall)


def always_zero(weight: Weight) -> bool:
    """Whether the weight is 0 at every p, so that its term is no part of the objective."""
    if isinstance(weight, Schedule):
        return weight.value == 0
    return weight == 0


def initial(weight: Weight) -> State:
    """What is known before the first step."""
    match weight:
        case Budget():
            return {"weight": min(weight.initial, weight.maximum)}
        case Learned():
            share = weight.initial / weight.maximum
            return {"theta": math.log(share / (1 - share)), "mean": 0.0, "square": 0.0, "times": 0.0}
        case _:
            return {}


def current(weight: Weight, state: State, progress: float) -> float:
    """The weight of the next step."""
    match weight:
        case Ratio():
            if not state:
                return 0.0
            return min(weight.maximum, weight.ratio * state["to"] / state["own"]) if state["own"] else weight.maximum
        case Budget():
            return state["weight"]
        case Learned():
            return weight.maximum / (1 + math.exp(-state["theta"]))
        case _:
            return weight_at(weight, progress)


def observe(weight: Weight, state: State, raw: float, to: float) -> None:
    """Take a step's raw value of the term (and, for a ratio, of the term that it is compared with) into the state."""
    match weight:
        case Ratio():
            for name, value in (("own", abs(raw)), ("to", abs(to))):
                state[name] = weight.decay * state.get(name, value) + (1 - weight.decay) * value
        case Budget():
            error = max(-CLIP, min(CLIP, (raw - weight.target) / weight.target))
            state["weight"] = min(weight.maximum, state["weight"] * (1 + weight.gain * error))
        case _:
            pass


def descend(weight: Learned, state: State, slope: float) -> None:
    """One Adam step of theta against d CE_dev / dw = `slope`; d w / d theta = w (1 - w / maximum)."""
    now = current(weight, state, 0.0)
    gradient = slope * now * (1 - now / weight.maximum)
    state["times"] += 1
    for name, beta, value in (("mean", BETAS[0], gradient), ("square", BETAS[1], gradient**2)):
        state[name] = beta * state[name] + (1 - beta) * value
    mean = state["mean"] / (1 - BETAS[0] ** state["times"])
    square = state["square"] / (1 - BETAS[1] ** state["times"])
    if square > 0:
        state["theta"] -= weight.learning_rate * mean / (math.sqrt(square) + EPS)
