"""Loops."""

from .teacher_student import TeacherStudentTestLoop, TeacherStudentValLoop

__all__ = ['TeacherStudentTestLoop', 'TeacherStudentValLoop']
