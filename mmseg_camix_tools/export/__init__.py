"""Trained networks as stock mmseg, as safetensors, as ONNX.

`plain` takes one network out of a training, `segmentor` writes its config in mmseg's own terms, `embedded` checks a
config that came inside a checkpoint, `metainfo` finds classes and colours, `files` writes, `onnx` writes and checks
a graph.
"""

from mmseg_camix.files import printable


class ExportError(ValueError):
    """A network cannot be exported; says why and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))  # names come from checkpoints
