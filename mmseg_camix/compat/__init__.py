"""What mmseg, mmcv and mmengine need before they work on today's torch and with mmcv-lite."""


def prepare() -> None:
    """Prepare the environment for `import mmseg`; may be called any number of times."""
