"""Numbers that change during training: callables (iteration, max_iters) -> float.

Wherever a schedule is accepted, `build_schedule` turns what a config says into one: a number stays
constant, `dict(type='ExpRamp', ...)` names one of `SCHEDULES`, and a callable is taken as it is.
Moments (`at`, `begin`, `until`) are iterations if they are integers, shares of max_iters if floats.
"""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

Moment = int | float
Schedule = Callable[[int, int], float]


def _iteration(moment: Moment, max_iters: int) -> float:
    return moment * max_iters if isinstance(moment, float) else moment


def _check_moment(name: str, moment: Moment) -> None:
    whole = isinstance(moment, int) and not isinstance(moment, bool)
    share = isinstance(moment, float)
    if not ((whole and moment >= 0) or (share and 0 <= moment <= 1)):
        raise ValueError(f'{name}={moment!r} must be an iteration (integer, at least 0) or a share '
                         'of the training (float in [0, 1])')


@dataclass(frozen=True)
class Constant:
    """The same value always."""
    value: float

    def __call__(self, iteration: int, max_iters: int) -> float:
        return float(self.value)


@dataclass(frozen=True)
class _Ramp:
    """From `start` to `end` between two moments; constant before and after.

    Args:
        start: the value at `begin`.
        end: the value at `until`.
        begin: when the change begins.
        until: when it is complete. An iteration t counts as t / max_iters, so that the default is
            reached only by the iteration after the last.
    """
    start: float
    end: float
    begin: Moment = 0
    until: Moment = 1.

    def __post_init__(self) -> None:
        _check_moment('begin', self.begin)
        _check_moment('until', self.until)

    def shape(self, x: float) -> float:
        """How much of the way is done at a progress x in [0, 1]."""
        raise NotImplementedError

    def __call__(self, iteration: int, max_iters: int) -> float:
        first, last = (_iteration(m, max_iters) for m in (self.begin, self.until))
        x = (iteration - first) / (last - first) if last > first else float(iteration >= last)
        return self.start + (self.end - self.start) * self.shape(min(max(x, 0.), 1.))


@dataclass(frozen=True)
class Linear(_Ramp):
    """A straight line."""

    def shape(self, x: float) -> float:
        return x


@dataclass(frozen=True)
class Poly(_Ramp):
    """What remains of the way falls as (1 - x) ** power; the usual decay of learning rates.

    Args:
        power: the exponent.
    """
    power: float = .9

    def shape(self, x: float) -> float:
        return 1 - (1 - x)**self.power


@dataclass(frozen=True)
class Cosine(_Ramp):
    """Half a cosine: slow at both ends."""

    def shape(self, x: float) -> float:
        return (1 - math.cos(math.pi * x)) / 2


@dataclass(frozen=True)
class ExpRamp(_Ramp):
    """start + (end - start) * exp(gamma * (1 - x) ** power).

    CAMix's Eq. 7 without K_sup is `ExpRamp(.75, 1., gamma=-5, power=2)`, RCCR's mu(t) is
    `ExpRamp(0., .01, gamma=-5, power=.5)`. At x = 0 it is exp(gamma) of the way from start to end.

    Args:
        gamma: the steepness.
        power: the exponent.
        power_of: 'remaining' raises 1 - x as above; 'elapsed' gives 1 - x ** power in its place, as
            the released code of RCCR does.
    """
    gamma: float = -5.
    power: float = 2.
    power_of: str = 'remaining'

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power_of not in ('remaining', 'elapsed'):
            raise ValueError(f"power_of '{self.power_of}' is not known; "
                             'available: remaining, elapsed')

    def shape(self, x: float) -> float:
        remaining = self.power_of == 'remaining'
        return math.exp(self.gamma * ((1 - x)**self.power if remaining else 1 - x**self.power))


@dataclass(frozen=True)
class Switch:
    """One value or schedule until `at`, another one from then on.

    Args:
        before: number, dict or schedule.
        after: number, dict or schedule; it sees the whole training's iterations.
        at: the first moment of `after`.
    """
    before: float | dict | Schedule
    after: float | dict | Schedule
    at: Moment

    def __post_init__(self) -> None:
        _check_moment('at', self.at)
        for name in ('before', 'after'):
            object.__setattr__(self, name, build_schedule(getattr(self, name)))

    def __call__(self, iteration: int, max_iters: int) -> float:
        late = iteration >= _iteration(self.at, max_iters)
        return (self.after if late else self.before)(iteration, max_iters)


@dataclass(frozen=True)
class Step:
    """values[i] from moment at[i - 1] on.

    Args:
        values: one more than there are moments.
        at: moments, in order.
    """
    values: Sequence[float]
    at: Sequence[Moment]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.at) + 1:
            raise ValueError(f'Step needs one value more than moments, but has {len(self.values)} '
                             f'values and {len(self.at)} moments')
        for moment in self.at:
            _check_moment('at', moment)

    def __call__(self, iteration: int, max_iters: int) -> float:
        passed = sum(iteration >= _iteration(moment, max_iters) for moment in self.at)
        return float(self.values[passed])


SCHEDULES = {cls.__name__: cls for cls in (Constant, Linear, Poly, Cosine, ExpRamp, Switch, Step)}


def build_schedule(value: float | dict | Schedule) -> Schedule:
    """A schedule from a number, from a dict with `type`, or from a callable, which is returned."""
    if callable(value):
        return value
    if isinstance(value, dict):
        return _from_dict(dict(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Constant(value)
    raise TypeError(f'{value!r} is no schedule: give a number, a dict with a type of '
                    f'{", ".join(SCHEDULES)}, or a callable (iteration, max_iters) -> float')


def _from_dict(config: dict) -> Schedule:
    name = config.pop('type', None)
    if name not in SCHEDULES:
        raise KeyError(f"schedule type '{name}' is not known; available: {', '.join(SCHEDULES)}")
    known = [f.name for f in fields(SCHEDULES[name])]
    if unknown := set(config) - set(known):
        raise TypeError(f"schedule '{name}' has no argument {', '.join(sorted(unknown))}; "
                        f"available: {', '.join(known)}")
    return SCHEDULES[name](**config)
