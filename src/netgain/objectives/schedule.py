"""A term's weight over progress p in [0, 1]: constant, or piecewise linear (off, ramp up, hold, ramp down)."""

from netgain.spec.run import Schedule


def weight_at(weight: float | Schedule, progress: float) -> float:
    """w(p) = 0 for p < start, else value * min(1, (p - start) / warmup, (1 - p) / (1 - decay))."""
    if not isinstance(weight, Schedule):
        return weight
    if progress < weight.start:
        return 0.0
    rise = (progress - weight.start) / weight.warmup if weight.warmup else 1.0
    fall = (1.0 - progress) / (1.0 - weight.decay) if weight.decay < 1 else 1.0
    return weight.value * min(1.0, rise, fall)


def always_zero(weight: float | Schedule) -> bool:
    """Whether the weight is 0 at every p, so that its term is no part of the objective."""
    return (weight.value if isinstance(weight, Schedule) else weight) == 0
