"""What mmseg 1.2 and mmengine 0.10 need before they work on today's torch and with mmcv-lite.

`prepare()` runs when `mmseg_camix` is imported, before anything of mmseg is. It checks what is installed, silences
known warnings, and lets `mmcv.ops` be imported without compiled ops. Each step may run any number of times.
"""
from .compiled_ops import import_mmcv_ops
from .quiet import silence_known_warnings
from .requirements import check_requirements

__all__ = ['prepare']


def prepare() -> None:
    """Prepare the environment for `import mmseg`; may be called any number of times."""
    check_requirements()
    silence_known_warnings()
    import_mmcv_ops()
