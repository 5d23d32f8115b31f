"""Learning-rate schedules of a config, compressed to another number of iterations."""

import math
from collections.abc import Mapping
from typing import Any

from mmseg_camix.type_names import type_name

WARM_UP = 0.05  # least share of the iterations that a warm-up takes
LENGTHS = {'milestones', 'periods', 'T_max', 'step_size', 'total_steps'}  # of schedulers, besides begin and end


def compress_schedulers(cfg: Mapping, iterations: int, rate: float = 1.0) -> list[dict[str, Any]]:
    """The schedulers of a config, compressed from its length to this number of iterations.

    Args:
        cfg: with ``param_scheduler`` and ``train_cfg``; without schedulers, the learning rate decays polynomially.
        iterations: of the training.
        rate: factor of the learning rates that schedulers end with.
    """
    given = cfg.get('param_scheduler') or [dict(type='PolyLR', eta_min=0.0, power=0.9)]
    return [_compress(scheduler, cfg.get('train_cfg') or {}, iterations, rate)
            for scheduler in (given if isinstance(given, (list, tuple)) else [given])]


def _compress(scheduler: Mapping, loop: Mapping, iterations: int, rate: float) -> dict[str, Any]:
    name = type_name(scheduler)
    epochs = loop.get('max_epochs') if scheduler.get('by_epoch', True) else None
    known = epochs or loop.get('max_iters')  # in the scheduler's unit
    end = scheduler.get('end') or math.inf
    length = known or (end if end < math.inf else iterations)
    share = min(end, length) / length
    if name in ('LinearLR', 'ConstantLR') and (share < 0.5 or not known):  # a warm-up
        share = max(WARM_UP, share) if known else WARM_UP

    def scale(steps: float | list[float]) -> int | list[int]:
        if isinstance(steps, (list, tuple)):
            return [scale(step) for step in steps]
        return max(1, round(steps / length * iterations))

    scaled = {key: scale(value) if key in LENGTHS else value for key, value in scheduler.items()
              if key != 'convert_to_iter_based'}
    if 'eta_min' in scheduler:
        scaled['eta_min'] = scheduler['eta_min'] * rate
    if name == 'ExponentialLR':
        scaled['gamma'] = scheduler['gamma'] ** (length / iterations)
    return dict(scaled, by_epoch=False, begin=round(scheduler.get('begin', 0) / length * iterations),
                end=max(1, round(share * iterations)))
