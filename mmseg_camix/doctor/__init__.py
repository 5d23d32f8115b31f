"""A doctor for anyone's data: opens what a config would read, and says what is wrong and what to do."""

from .examine import Examination, examine, told
from .findings import Finding

__all__ = ['Examination', 'Finding', 'examine', 'told']
