"""Checkpoints of plain segmentors."""

from __future__ import annotations

OWN_PARTS = ('student.', 'teacher.', 'masks.', 'views.', 'objectives.', 'pseudo_labels.')


def hand_to_student(state_dict: dict, prefix: str) -> None:
    """Rename the weights of a plain segmentor, in place, so that they are loaded into the student.

    Args:
        state_dict: of a checkpoint; left alone if it is one of an adapted model.
        prefix: of the model within it.
    """
    own = [key[len(prefix):] for key in state_dict if key.startswith(prefix)]
    if any(key.startswith(OWN_PARTS) for key in own):
        return
    for key in own:
        state_dict[f'{prefix}student.{key}'] = state_dict.pop(prefix + key)
