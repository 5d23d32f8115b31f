"""The error of this package."""


class ExportError(ValueError):
    """A network cannot be handed over; says why and what to do."""
