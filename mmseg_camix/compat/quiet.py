"""Silence the warnings that come from mmengine's and mmseg's own code and that no user can act on.

Each is named by its exact text: whatever is new is shown.
"""
import warnings

KNOWN_WARNINGS = (
    # mmengine resolves `_base_ = 'mmseg::...'` through pkg_resources.
    ('pkg_resources is deprecated as an API', UserWarning),
    # mmseg's own decode heads call it.
    ('``build_loss`` would be deprecated soon', UserWarning),
    # mmengine's AmpOptimWrapper and autocast.
    (r'`torch\.cuda\.amp\.(GradScaler|autocast)', FutureWarning),
)


def silence_known_warnings() -> None:
    """Add one filter for each known warning (adding it again changes nothing)."""
    for text, category in KNOWN_WARNINGS:
        warnings.filterwarnings('ignore', message=text, category=category)
