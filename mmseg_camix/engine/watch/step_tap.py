"""A look at the step that a model is computing, for hooks."""

from __future__ import annotations

from torch import nn

from mmseg_camix.models.step import Step


class StepTap:
    """Keeps the :class:`Step` of an adapted model's forward pass, if it is wanted.

    A step holds images and features, so it is kept for one iteration only, and only when asked for.

    Args:
        model: an adapted model, without DDP around it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._wanted = False
        self._step: Step | None = None
        # An objective sees the step when all of it but the losses is there.
        self._handles = [objective.register_forward_hook(self._keep) for objective in model.objectives.values()]

    def want(self) -> None:
        """Keep the step of the next forward pass."""
        self._wanted = True

    def take(self) -> Step | None:
        """The step, if it was wanted and there was one; it is forgotten here."""
        step, self._step, self._wanted = self._step, None, False
        return step

    def close(self) -> None:
        """Look no longer."""
        for handle in self._handles:
            handle.remove()

    def _keep(self, objective: nn.Module, args: tuple, output: object) -> None:
        if self._wanted:
            self._step = args[0]
