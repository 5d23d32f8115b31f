"""The methods: each fills the wrapper's tables with its paper's defaults."""

from .baselines import CowMix, CutMix, MeanTeacher, NaiveClassMix, PseudoLabelling, SourceOnly
from .camix import CAMix
from .dacs import DACS, iDACS
from .daformer import DAFormer, iDAFormer
from .dsp import DSP
from .rccr import RCCR

__all__ = [
    'CAMix', 'CowMix', 'CutMix', 'DACS', 'DAFormer', 'DSP', 'MeanTeacher', 'NaiveClassMix', 'PseudoLabelling',
    'RCCR', 'SourceOnly', 'iDACS', 'iDAFormer',
]
