"""The teacher as an exponential moving average of the student."""
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor


def ema_alpha(step: int, alpha: float) -> float:
    """The share of the teacher that is kept at update number `step`, counted from 0.

    min(1 - 1 / (step + 1), alpha): a plain mean of all students until `alpha` is reached; the first update copies the
    student.
    """
    return min(1 - 1 / (step + 1), alpha)


@torch.no_grad()
def ema_update_(teacher: Sequence[Tensor], student: Sequence[Tensor], alpha: float) -> None:
    """Set teacher = alpha * teacher + (1 - alpha) * student in place, with one fused kernel per dtype.

    Args:
        teacher: tensors of any dtype and device; integers (counters) are copied.
        student: tensors of the same shapes, converted to the teacher's dtype.
    """
    if len(teacher) != len(student):
        raise ValueError(f'ema_update_: {len(teacher)} tensors of the teacher do not match {len(student)} of the '
                         'student')
    groups: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for mean, new in zip(teacher, student):
        targets, values = groups[mean.dtype, mean.device]
        targets.append(mean)
        values.append(new.detach().to(mean))
    for (dtype, _), (targets, values) in groups.items():
        if dtype.is_floating_point or dtype.is_complex:
            torch._foreach_lerp_(targets, values, 1 - alpha)
        else:
            torch._foreach_copy_(targets, values)
