"""Loops."""

from .resumable_train_loop import ResumableTrainLoop
from .teacher_student import TeacherStudentTestLoop, TeacherStudentValLoop

__all__ = ['ResumableTrainLoop', 'TeacherStudentTestLoop', 'TeacherStudentValLoop']
