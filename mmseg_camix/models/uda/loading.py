"""Checkpoints of plain segmentors."""

from __future__ import annotations

OWN_PARTS = ('student.', 'teacher.', 'masks.', 'views.', 'objectives.', 'pseudo_labels.')


def hand_to_networks(state_dict: dict, prefix: str, teacher: bool) -> None:
    """Rename the weights of a plain segmentor, in place, so that they are loaded into student and teacher.

    A training copies the student to the teacher before its first step in any case. But whoever tests or predicts with
    a method whose teacher is tested would else see a random one.

    Args:
        state_dict: of a checkpoint; left alone if it is one of an adapted model.
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
