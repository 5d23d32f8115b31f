"""Checkpoints of plain segmentors."""

from __future__ import annotations

from typing import Any

# Prefixes of an adapted model's own weights.
OWN_PARTS = ('student.', 'teacher.', 'masks.', 'views.', 'objectives.', 'pseudo_labels.')


def remap_plain_weights(state_dict: dict[str, Any], prefix: str, teacher: bool) -> None:
    """Rename a plain segmentor's weights in place, so that they load into student and teacher.

    Training copies the student into the teacher before its first step in any case. Without this, however, testing a
    plain checkpoint with a method that predicts with its teacher would test a random network.

    Args:
        state_dict: of a checkpoint; unchanged if it is one of an adapted model.
        prefix: of the model within it.
        teacher: whether the model has one.
    """
    own = [key[len(prefix):] for key in state_dict if key.startswith(prefix)]
    if any(key.startswith(OWN_PARTS) for key in own):
        return
    for key in own:
        state_dict[f'{prefix}student.{key}'] = value = state_dict.pop(prefix + key)
        if teacher:
            state_dict[f'{prefix}teacher.model.{key}'] = value
