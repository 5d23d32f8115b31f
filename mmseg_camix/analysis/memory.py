"""How much memory a step takes beyond what the model holds, and a step with a backward pass for each view."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mmseg_camix.models.uda import passes

from .timing import Training


def peak_mib(run: Callable[[], object], device: torch.device) -> float:
    """The most that ``run`` allocates at a time beyond what there was, in MiB: tensors, not the process."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [(event.start_ns(), event.nbytes()) for event in profiler.profiler.kineto_results.events()
              if event.name() == '[memory]']
    held = most = 0
    for _, size in sorted(events):
        held += size
        most = max(most, held)
    return most / 2**20


class BackwardEach(Training):
    """One backward pass for each pass of the student, so that one graph is alive at a time.

    For measurements: DDP averages the gradients of the first backward pass alone.
    """

    def passes(self, batch: dict) -> None:
        model = self.model
        with self.optimizer.optim_context(model):
            step = model._begin(batch['inputs'], batch['data_samples'])
            with torch.no_grad():
                model._prepare(step, batch['inputs'], batch['data_samples'])
        for names, decodes in passes.grouped(model._views_seen(), model.joint_views):
            with self.optimizer.optim_context(model), self.watch(f'{" + ".join(names)} forward'):
                images = [step.views[name].image for name in names]
                seen = passes.split(model._see(torch.cat(images), decodes), [len(image) for image in images])
                step.passes = dict(zip(names, seen))
                losses = self._losses(step, names)
            del seen
            with self.watch('backward'):
                self.optimizer.backward(self.optimizer.scale_loss(model.parse_losses(losses)[0]))

    def _losses(self, step: object, names: tuple[str, ...]) -> dict:
        """Of the objectives that look at these views alone."""
        losses = {}
        for name, objective in self.model._active_objectives().items():
            if set(objective.reads) & set(names) and not set(objective.reads) <= set(names):
                raise SystemExit(f"objective '{name}' compares views of several passes ({', '.join(objective.reads)}): "
                                 'they need one backward pass')
            if set(objective.reads) <= set(names):
                losses.update({f'{name}.{key}': value for key, value in objective(step, self.model.student).items()})
        return losses
