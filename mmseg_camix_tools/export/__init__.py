"""Trained networks for others: as stock mmseg, as safetensors, as ONNX.

`plain` takes one network out of a training, `segmentor` writes its config in mmseg's own terms,
`metainfo` finds classes and colours, `files` writes, and `onnx` writes and checks a graph.
"""

from .errors import ExportError

__all__ = ['ExportError']
