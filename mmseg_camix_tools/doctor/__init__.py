"""Check of the data of any config: opens what training would read, and reports faults with their remedies."""

from .examine import Examination, examine, report
from .findings import Finding

__all__ = ['Examination', 'Finding', 'examine', 'report']
