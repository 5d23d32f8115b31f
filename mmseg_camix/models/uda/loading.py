"""Checkpoints of plain segmentors, and of students without a teacher."""

from typing import Any

# Prefixes of an adapted model's own weights.
OWN_PARTS = ('student.', 'teacher.', 'masks.', 'views.', 'objectives.', 'pseudo_labels.')


def remap_plain_weights(state_dict: dict[str, Any], prefix: str, teacher: bool) -> None:
    """Rename a plain segmentor's weights to the student's, in place, and copy them to a teacher that the file lacks.

    Training copies the student into the teacher before its first step in any case. Without this, however, testing with
    the teacher would test a random network.
    """
    own = [key[len(prefix):] for key in state_dict if key.startswith(prefix)]
    if not any(key.startswith(OWN_PARTS) for key in own):
        for key in own:
            state_dict[f'{prefix}student.{key}'] = state_dict.pop(prefix + key)
        own = [f'student.{key}' for key in own]
    if teacher and not any(key.startswith('teacher.') for key in own):
        for key in own:
            if key.startswith('student.'):
                state_dict[f'{prefix}teacher.model.{key.removeprefix("student.")}'] = state_dict[prefix + key]
