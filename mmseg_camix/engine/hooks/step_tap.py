"""Access to the step that a model is computing, for hooks."""

from torch import nn

from mmseg_camix.models.step import Step


class StepTap:
    """Keeps the :class:`Step` of an adapted model's forward pass on request.

    A step holds images and features, so it is kept for one iteration only, and only on request.
    """

    def __init__(self) -> None:
        self._requested, self._step, self._handles = False, None, []

    def attach(self, model: nn.Module) -> None:
        """Listen to this adapted model only, which has no DDP wrapper."""
        self.close()
        # When an objective is called, everything in the step except the losses is there.
        self._handles = [objective.register_forward_hook(self._keep) for objective in model.objectives.values()]

    def request(self) -> None:
        """Keep the step of the next forward pass."""
        self._requested = True

    def take(self) -> Step | None:
        """The step, if it was requested and computed; the tap drops it."""
        step, self._step, self._requested = self._step, None, False
        return step

    def close(self) -> None:
        """Stop listening."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _keep(self, objective: nn.Module, args: tuple, output: object) -> None:
        if self._requested:
            self._step = args[0]
