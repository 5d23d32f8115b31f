"""Measurements behind the hooks that watch a training: docs/reliability.md."""
