import math
import pickle

import pytest

from mmseg_camix.ops.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    ExpRamp,
    Linear,
    Poly,
    StepSchedule,
    SwitchSchedule,
    build_schedule,
)

EXAMPLES = {
    'Constant': Constant(.3),
    'Linear': Linear(1., 0.),
    'Poly': Poly(1., 0., power=.9),
    'Cosine': Cosine(0., 1.),
    'ExpRamp': ExpRamp(.75, 1.),
    'Switch': SwitchSchedule(0., Linear(0., 1.), at=.5),
    'Step': StepSchedule((1., .1), at=(30, )),
}
RAMPS = [EXAMPLES[name] for name in ('Linear', 'Poly', 'Cosine')]


def test_examples_are_complete():
    assert set(EXAMPLES) == set(SCHEDULES)


@pytest.mark.parametrize('name', EXAMPLES)
def test_every_schedule_is_a_picklable_function(name):
    schedule = EXAMPLES[name]
    copy = pickle.loads(pickle.dumps(schedule))
    for t in (0, 29, 30, 50, 99, 100, 1000):
        value = schedule(t, 100)
        assert isinstance(value, float) and math.isfinite(value) and copy(t, 100) == value


@pytest.mark.parametrize('ramp', RAMPS)
def test_ends_and_direction(ramp):
    values = [ramp(t, 100) for t in range(101)]
    assert values[0] == ramp.start and values[-1] == pytest.approx(ramp.end)
    steps = [b - a for a, b in zip(values, values[1:])]
    assert all(s * (ramp.end - ramp.start) > 0 for s in steps)


@pytest.mark.parametrize('cls', [Linear, Poly, Cosine, ExpRamp])
@pytest.mark.parametrize(('begin', 'until'), [(20, 60), (.2, .6), (20, .6)])
def test_moments_as_iterations_and_shares(cls, begin, until):
    ramp, whole = cls(2., 5., begin=begin, until=until), cls(2., 5.)
    for t in range(0, 101, 10):
        inside = min(max(t - 20, 0), 40)
        assert ramp(t, 100) == pytest.approx(whole(inside, 40))
    # Shares follow the length of the training, iterations do not.
    assert cls(2., 5., until=.5)(30, 60) == pytest.approx(5.)
    assert cls(2., 5., until=30)(30, 1000) == pytest.approx(5.)


def test_one_is_an_iteration_and_one_point_zero_the_end():
    assert Linear(0., 1., until=1)(1, 100) == 1 and Linear(0., 1., until=1.)(1, 100) == .01


def test_no_time_between_moments_is_a_jump():
    jump = Linear(0., 1., begin=10, until=10)
    assert [jump(t, 100) for t in (9, 10, 11)] == [0, 1, 1]


def test_poly_is_the_learning_rate_decay():
    assert Poly(2.5e-4, 0.)(100, 250) == pytest.approx(2.5e-4 * (1 - 100 / 250)**.9)


def test_cosine_golden():
    assert [Cosine(1., 0.)(t, 100) for t in (0, 50, 100)] == pytest.approx([1, .5, 0])
    assert Cosine(1., 0.)(25, 100) == pytest.approx((1 + 2**.5 / 2) / 2)


def test_threshold_of_camix():
    """beta + (1 - beta) * exp(gamma * (1 - t/T) ** 2), beta = .75, gamma = -5."""
    ramp = ExpRamp(.75, 1., gamma=-5., power=2.)
    for t in range(0, 101, 10):
        assert ramp(t, 100) == pytest.approx(.75 + .25 * math.exp(-5 * (1 - t / 100)**2))
    # Times ln 19 this runs from 2.21 to 2.94 nats, the range known of the released code.
    assert ramp(0, 100) * math.log(19) == pytest.approx(2.21, abs=.005)
    assert ramp(100, 100) * math.log(19) == pytest.approx(2.94, abs=.005)


def test_contrast_weight_of_rccr():
    printed = ExpRamp(0., .01, gamma=-5., power=.5)
    official = ExpRamp(0., .01, gamma=-5., power=.5, power_of='elapsed')
    for t in range(0, 101, 10):
        assert printed(t, 100) == pytest.approx(.01 * math.exp(-5 * (1 - t / 100)**.5))
        assert official(t, 100) == pytest.approx(.01 * math.exp(-5 * (1 - (t / 100)**.5)))
    # Same ends, but half-way the official one is 8 times as strong.
    assert official(50, 100) / printed(50, 100) == pytest.approx(math.exp(5 * (2**.5 - 1)))


def test_switch():
    warm_up = SwitchSchedule(1., 0., at=110_000)
    assert [warm_up(t, 250_000) for t in (0, 109_999, 110_000)] == [1, 1, 0]
    assert SwitchSchedule(1., 0., at=.5)(50, 100) == 0 and SwitchSchedule(1., 0., at=.5)(49, 100) == 1


def test_switch_nests():
    late = build_schedule(dict(type='Switch', before=0, at=60, after=dict(type='Linear', start=0., end=1.)))
    assert [late(t, 100) for t in (59, 60, 90)] == [0, .6, .9]
    # A switch beyond the end never comes, like RCCR's contrast on GTA as released.
    assert not any(SwitchSchedule(0., 1., at=300_000)(t, 250_000) for t in range(0, 250_000, 10_000))


def test_step():
    step = StepSchedule((1., .1, .01), at=(30, .8))
    assert [step(t, 100) for t in (0, 29, 30, 79, 80, 99)] == [1, 1, .1, .1, .01, .01]


def test_build():
    assert build_schedule(.5) == Constant(.5) and build_schedule(2)(0, 1) == 2.
    config = dict(type='Poly', start=1., end=0., power=2)
    assert build_schedule(config) == Poly(1., 0., power=2)
    assert config['type'] == 'Poly', 'the config must stay as it was'
    assert build_schedule(max)(3, 7) == 7


@pytest.mark.parametrize(('value', 'error', 'message'), [
    (dict(type='ExpRam', start=0., end=1.), KeyError, "'ExpRam'.*Constant, Linear"),
    (dict(start=0., end=1.), KeyError, "'None' is unknown"),
    (dict(type='Linear', start=0., stop=1.), TypeError, 'no argument stop; available: start, end'),
    ('0.5', TypeError, "'0.5' is not a schedule"),
    (True, TypeError, 'True is not a schedule'),
    (dict(type='Linear', start=0., end=1., until=1.5), ValueError, r'until=1.5 must be'),
    (dict(type='Linear', start=0., end=1., begin=-1), ValueError, r'begin=-1 must be'),
    (dict(type='Switch', before=0, after=1, at='half'), ValueError, "at='half' must be"),
    (dict(type='Step', values=[1., 2.], at=[]), ValueError, '2 values and 0 moments'),
    (dict(type='ExpRamp', start=0., end=1., power_of='left'), ValueError, 'remaining, elapsed'),
])
def test_bad_configs(value, error, message):
    with pytest.raises(error, match=message):
        build_schedule(value)
