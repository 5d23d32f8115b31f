"""Checkpoints of plain segmentors, and of students without a teacher."""

from typing import Any

from torch import Tensor, nn

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


def forget_steps_of_partial_teacher(state_dict: dict[str, Any], prefix: str, teacher: nn.Module) -> None:
    """Remove the number of a teacher's steps where the file lacks some of its weights, or has others in their place.

    A training then copies the student into the teacher. Otherwise pseudo-labels would come from layers at random (of
    another number of classes, with `load_partially`).
    """
    for name, own in teacher.named_parameters():
        saved = state_dict.get(f'{prefix}teacher.model.{name}')
        fits = isinstance(saved, Tensor) and saved.shape == own.shape
        if not fits and not name.startswith('auxiliary_head.'):
            state_dict.pop(f'{prefix}teacher.steps', None)
            return
