"""Trained networks as stock mmseg, as safetensors, as ONNX.

`plain` takes one network out of a training, `segmentor` writes its config in mmseg's own terms, `embedded` checks a
config that came inside a checkpoint, `metainfo` finds classes and colours, `files` writes, `onnx` writes and checks
a graph.
"""

from mmseg_camix.files import PrintableError


class ExportError(PrintableError):
    """A network cannot be exported; the message gives the reason and the remedy."""
