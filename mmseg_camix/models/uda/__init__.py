"""Adaptation as a wrapper around any segmentor. Import modules, not this package."""
