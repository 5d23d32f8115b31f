"""Numbers that change during training: callables (iteration, max_iters) -> float.

Wherever a schedule is accepted, `build_schedule` converts what a config contains: a number is constant,
`dict(type='ExpRamp', ...)` names one of `SCHEDULES`, and a callable is used as it is. Moments (`at`, `begin`, `until`)
are iterations if they are integers, shares of max_iters if floats.
"""
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Moment = int | float
Schedule = Callable[[int, int], float]


def _iteration(moment: Moment, max_iters: int) -> float:
    return moment * max_iters if isinstance(moment, float) else moment


def _check_moment(name: str, moment: Moment) -> None:
    whole = isinstance(moment, int) and not isinstance(moment, bool)
    share = isinstance(moment, float)
    if not ((whole and moment >= 0) or (share and 0 <= moment <= 1)):
        raise ValueError(f'{name}={moment!r} must be an iteration (integer, at least 0) or a share of the training '
                         '(float in [0, 1])')


@dataclass(frozen=True)
class Constant:
    """The same value at all iterations."""
    value: float

    def __call__(self, iteration: int, max_iters: int) -> float:
        return float(self.value)


@dataclass(frozen=True)
class _Ramp:
    """From `start` to `end` between two moments; constant before and after.

    Args:
        start: value at `begin`.
        end: value at `until`.
        begin: moment at which the change begins.
        until: moment at which it is complete. Iteration t is at t / max_iters, so that the default is reached at the
            iteration after the last.
    """
    start: float
    end: float
    begin: Moment = 0
    until: Moment = 1.

    def __post_init__(self) -> None:
        _check_moment('begin', self.begin)
        _check_moment('until', self.until)

    def shape(self, x: float) -> float:
        """The share of the change completed at progress x in [0, 1]."""
        raise NotImplementedError

    def __call__(self, iteration: int, max_iters: int) -> float:
        first, last = (_iteration(moment, max_iters) for moment in (self.begin, self.until))
        x = (iteration - first) / (last - first) if last > first else float(iteration >= last)
        return self.start + (self.end - self.start) * self.shape(min(max(x, 0.), 1.))


@dataclass(frozen=True)
class Linear(_Ramp):
    """A straight line."""

    def shape(self, x: float) -> float:
        return x


@dataclass(frozen=True)
class Poly(_Ramp):
    """The remaining change decreases as (1 - x) ** power, as in the usual decay of learning rates.

    Args:
        power: the exponent.
    """
    power: float = .9

    def shape(self, x: float) -> float:
        return float(1 - (1 - x)**self.power)


@dataclass(frozen=True)
class Cosine(_Ramp):
    """Half a cosine: slow at both ends."""

    def shape(self, x: float) -> float:
        return (1 - math.cos(math.pi * x)) / 2


@dataclass(frozen=True)
class ExpRamp(_Ramp):
    """start + (end - start) * exp(gamma * (1 - x) ** power).

    CAMix's Eq. 7 without K_sup is `ExpRamp(.75, 1., gamma=-5, power=2)`, RCCR's mu(t) is `ExpRamp(0., .01, gamma=-5,
    power=.5)`. At x = 0, exp(gamma) of the change is completed.

    Args:
        gamma: steepness.
        power: the exponent.
        power_of: 'remaining' raises 1 - x as above; 'elapsed' gives 1 - x ** power instead, as in the released code of
            RCCR.
    """
    gamma: float = -5.
    power: float = 2.
    power_of: str = 'remaining'

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power_of not in ('remaining', 'elapsed'):
            raise ValueError(f"power_of '{self.power_of}' is unknown; available: remaining, elapsed")

    def shape(self, x: float) -> float:
        remaining = self.power_of == 'remaining'
        return math.exp(self.gamma * ((1 - x)**self.power if remaining else 1 - x**self.power))


class SwitchSchedule:
    """One value or schedule until `at`, another from then on; 'Switch' in configs.

    Args:
        before: number, dict or schedule.
        after: number, dict or schedule; it counts iterations from the start of the training.
        at: the first moment of `after`.
    """

    def __init__(self, before: Any, after: Any, at: Moment) -> None:
        _check_moment('at', at)
        self.before, self.after, self.at = build_schedule(before), build_schedule(after), at

    def __call__(self, iteration: int, max_iters: int) -> float:
        late = iteration >= _iteration(self.at, max_iters)
        return (self.after if late else self.before)(iteration, max_iters)


@dataclass(frozen=True)
class StepSchedule:
    """values[i] from moment at[i - 1] on; 'Step' in configs.

    Args:
        values: one more than there are moments.
        at: moments, in order.
    """
    values: Sequence[float]
    at: Sequence[Moment]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.at) + 1:
            raise ValueError(f'Step needs one value more than moments, but has {len(self.values)} values and '
                             f'{len(self.at)} moments')
        for moment in self.at:
            _check_moment('at', moment)

    def __call__(self, iteration: int, max_iters: int) -> float:
        passed = sum(iteration >= _iteration(moment, max_iters) for moment in self.at)
        return float(self.values[passed])


SCHEDULES: dict[str, Callable[..., Schedule]] = dict(
    Constant=Constant, Linear=Linear, Poly=Poly, Cosine=Cosine, ExpRamp=ExpRamp, Switch=SwitchSchedule,
    Step=StepSchedule)


def build_schedule(value: float | Mapping[str, Any] | Schedule) -> Schedule:
    """Build a schedule from a number or a dict with `type`; return a callable as it is."""
    if isinstance(value, Mapping):
        return _from_dict(dict(value))
    if callable(value):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Constant(value)
    raise TypeError(f'{value!r} is not a schedule: give a number, a dict with a type of {", ".join(SCHEDULES)}, or a '
                    'callable (iteration, max_iters) -> float')


def _from_dict(config: dict[str, Any]) -> Schedule:
    name = config.pop('type', None)
    if name not in SCHEDULES:
        raise KeyError(f"schedule type '{name}' is unknown; available: {', '.join(SCHEDULES)}")
    known = inspect.signature(SCHEDULES[name]).parameters
    if unknown := set(config) - set(known):
        raise TypeError(f"schedule '{name}' has no argument {', '.join(sorted(unknown))}; available: "
                        f"{', '.join(known)}")
    return SCHEDULES[name](**config)
