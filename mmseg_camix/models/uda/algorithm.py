"""What one training step does: teacher -> pseudo-labels -> masks -> views -> student -> objectives."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, profiler

from mmseg_camix.ops.augment import StrongAugment
from mmseg_camix.ops.global_batch import BatchGenerator

from .. import adapter
from ..building import Table
from ..masks import Mask
from ..objectives import Objective
from ..processes import Processes
from ..pseudo_labels import PseudoLabels
from ..step import Progress, Step, StudentPass, Target, View
from ..teacher import EMATeacher
from ..views import ViewBuilder, strongly_augmented
from .backward import GradientSum, finished, independent_parts
from .tables import needed

# Two streams: from one seed, masks and augmentation would draw the same numbers. They differ in the low 32 bits,
# because torch's CPU generator reads no others.
STREAMS = (0, 0x9E3779B9)


class UDAAlgorithm(BaseModel):
    """The training step of an adapted model, whose parts :class:`~.wrapper.UDASegmentor` builds.

    Phases of the step are named for profilers by `torch.profiler.record_function`.
    """

    student: Any
    data_preprocessor: Any
    teacher: EMATeacher | None
    pseudo_labels: PseudoLabels | None
    masks: Table[Mask]
    views: Table[ViewBuilder]
    objectives: Table[Objective]
    view_order: list[str]
    branches: tuple[str, ...]
    joint_views: Sequence[Sequence[str]]
    augment: StrongAugment
    stride: int
    global_batch: bool
    backward: str
    loss_scaler: Any = None
    """The `GradScaler` of mixed precision, if there is one; the hook sets it."""
    progress: Progress | None = None
    _generators: tuple[BatchGenerator, BatchGenerator] | None = None

    def loss(self, inputs: Mapping[str, Tensor] | Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Named losses and statistics of one step on branches of images (B, 3, H, W) and of data samples.

        A plain data set gives those of the source only, which need no name.
        """
        if isinstance(inputs, Tensor):
            inputs, data_samples = {'source': inputs}, {'source': data_samples}
        step = self.begin_step(inputs, data_samples)
        self.prepare_views(step)
        losses = self._losses_part_by_part(step) if self.backward == 'each' else self._losses_at_once(step)
        return {**losses, **step.statistics}

    def _losses_at_once(self, step: Step) -> adapter.Losses:
        """All losses; the graphs of all views stay in memory until the backward pass of their sum."""
        for names, needs_logits in self.planned_passes(step):
            self.run_student(step, names, needs_logits)
        return self._losses_of(self.objectives, step)

    def _losses_part_by_part(self, step: Step) -> adapter.Losses:
        """The same losses, with a backward pass for each group of views that share an objective."""
        gradients, active = GradientSum(self, self.loss_scaler), self.active_objectives(step.progress)
        losses = gradients.add(self._losses_of([name for name in self.objectives if name not in active], step))
        for passes, names in independent_parts(self.planned_passes(step), active):
            for views, needs_logits in passes:
                self.run_student(step, views, needs_logits)
            part = self._losses_of(names, step)
            with profiler.record_function('backward'):
                losses |= gradients.add(part)
            step.passes.update({view: finished(step.passes[view]) for views, _ in passes for view in views})
        return gradients.attach({key: losses[key] for name in self.objectives for key in losses
                                 if key.startswith(f'{name}.')})

    def _losses_of(self, names: Iterable[str], step: Step) -> adapter.Losses:
        """Losses of these objectives, whose names they carry."""
        losses: adapter.Losses = {}
        for name in names:
            objective = self.objectives[name]
            with profiler.record_function(f'{objective.view} forward'):
                values = objective(step, self.student) if objective.active(step.progress) else objective.idle()
            losses.update({f'{name}.{key}': value for key, value in values.items()})
        return losses

    def begin_step(self, inputs: Mapping[str, Tensor], data_samples: Mapping[str, list[Any]]) -> Step:
        """A step at the current progress with the data set's branches; arguments as in :meth:`loss`."""
        if self.progress is None:
            raise RuntimeError(
                'training progress was not set, so the teacher would never move. Add '
                "`custom_hooks = [dict(type='UDAHook')]` to the config (or inherit "
                'configs/_base_/uda.py); outside a Runner call `model.set_progress(...)`')
        self._check_branches(inputs)
        processes = Processes.of_training() if self.global_batch else Processes()
        generator, cpu_generator = self._seeded_generators(next(iter(inputs.values())).device, processes)
        head = adapter.main_head(self.student)
        return Step(self.progress, head.num_classes, head.ignore_index, head.align_corners, generator, cpu_generator,
                    inputs, data_samples, stride=self.stride, processes=processes)

    @torch.no_grad()
    def prepare_views(self, step: Step) -> None:
        """Fill in all that needs no gradient: branches with their labels, masks, views."""
        active = self.active_objectives(step.progress).values()
        if self.teacher is not None:
            step.teacher = self.teacher
            with profiler.record_function('teacher forward'):
                features, step.teacher_logits = self.teacher.features_and_logits(step.images['target'])
            if any(objective.needs_teacher_features for objective in active):
                step.teacher_features = features
        with profiler.record_function('labels, masks, views'):
            for name, image in step.images.items():
                step.views[name] = self._branch_view(step, name, image)
            views, masks = needed(self.views, self.view_order, views_read(active), step.progress)
            masks += [objective.mask for objective in active if objective.mask is not None]
            for name in dict.fromkeys(masks):
                step.masks[name] = self.masks[name](step)
            for name in views:
                step.views[name] = self.views[name](step)
                if self.views[name].augment:
                    augment = self.views[name].augmentation() or self.augment
                    step.views[name] = strongly_augmented(step.views[name], augment, step)
                step.views[name] = self.views[name].finish(step.views[name], step)

    def planned_passes(self, step: Step) -> list[tuple[tuple[str, ...], bool]]:
        """(views of one student pass, whether logits are needed on one of them); views in no group pass one by one."""
        read = views_read(self.active_objectives(step.progress).values())
        group_of = {name: tuple(other for other in group if other in read)
                    for group in self.joint_views for name in group}
        groups = dict.fromkeys(group_of.get(name, (name,)) for name in read)
        return [(names, any(read[name] for name in names)) for names in groups]

    def run_student(self, step: Step, names: Sequence[str], needs_logits: bool = True) -> None:
        """Pass some views through the student as one batch, and add each one's pass to the step."""
        with profiler.record_function(f'{" + ".join(names)} forward'):
            images = [step.views[name].image for name in names]
            kept = step.views[names[0]].kept  # of a view that passes by itself
            features = adapter.extract(self.student, torch.cat(images) if len(images) > 1 else images[0],
                                       step.cpu_generator, kept)
            joint = StudentPass(features, adapter.outputs(self.student, features) if needs_logits else ())
            step.passes.update(zip(names, split_pass(joint, [len(image) for image in images])))

    def active_objectives(self, progress: Progress) -> dict[str, Objective]:
        """Objectives that are computed at this point of the training."""
        return {name: objective for name, objective in self.objectives.items() if objective.active(progress)}

    def set_progress(self, iteration: int, max_iters: int, seed: int = 0) -> None:
        """Set the progress of the training; the hook calls it before each step."""
        self.progress = Progress(iteration, max_iters, seed)

    def update_teacher(self) -> None:
        """Move the teacher towards the student; the hook calls it after each step."""
        if self.teacher is not None:
            self.teacher.update(self.student)
        for objective in self.objectives.values():
            objective.after_step()

    def _seeded_generators(self, device: torch.device, processes: Processes) -> tuple[BatchGenerator, BatchGenerator]:
        """Generators (on the device, on the host) seeded from the progress, so that a step can be replayed.

        Processes that share a batch have equal seeds, and each takes its rows of what all draw.
        """
        assert self.progress is not None
        if self._generators is None or self._generators[0].device != device:
            self._generators = (BatchGenerator(device), BatchGenerator())
        seed = (self.progress.seed * 1_000_003 + self.progress.iteration) % 2**63
        for generator, stream in zip(self._generators, STREAMS):
            generator.manual_seed(seed ^ stream)
            generator.rank, generator.world = processes.rank, processes.world
        return self._generators

    def _branches_read(self) -> list[str]:
        readers: list[Any] = [*self.objectives.values(), *self.masks.values(), *self.views.values()]
        read = {name for reader in readers for name in reader.reads}
        if self.pseudo_labels is not None:
            read.add('target')
        return [name for name in self.branches if name in read]

    @property
    def needs_checkpoint(self) -> bool:
        """Whether it learns from pseudo-labels only, so that it must begin with a trained network."""
        return self._branches_read() == ['target']

    def _check_branches(self, given: Iterable[str]) -> None:
        if missing := [name for name in self._branches_read() if name not in given]:
            needed = ', '.join(f'{name}=...' for name in self.branches)
            raise ValueError(f"{type(self).__name__} needs images of {', '.join(missing)}, but the data set gives only "
                             f"{', '.join(given)}; train_dataloader needs dataset=dict(type='PairedDataset', "
                             f"{needed}) and sampler=dict(type='PairedSampler')")

    def _branch_view(self, step: Step, name: str, image: Tensor) -> View:
        """A branch with its targets: pseudo-labels, ground truth, or none (of a target that nothing reads)."""
        if name == 'target' and self.pseudo_labels is not None:
            return self.pseudo_labels(step, image)
        samples = step.samples[name]
        label = adapter.labels_of(samples)
        if label is None:
            if name == 'target':  # read by no mask, view or objective: the tables were checked for it
                return View(image, (), samples=samples)
            raise ValueError(f"branch '{name}' has no labels; its pipeline needs a label-loading transform such as "
                             "dict(type='LoadIdLabels')")
        with_probs = self.pseudo_labels is not None and self.pseudo_labels.keep_probs
        probs = one_hot(label, step.num_classes) if with_probs else None
        return View(image, (Target(label, torch.ones_like(label, dtype=torch.float32), probs),), samples=samples)


def views_read(objectives: Iterable[Objective]) -> dict[str, bool]:
    """View -> whether an objective needs the student's logits on it."""
    read: dict[str, bool] = {}
    for objective in objectives:
        for name in objective.reads:
            read[name] = read.get(name, False) or objective.needs_logits
    return read


def one_hot(label: Tensor, num_classes: int) -> Tensor:
    """(B, H, W) long -> (B, C, H, W) float; all zero where ignored."""
    classes = torch.arange(num_classes, device=label.device)[None, :, None, None]
    return (label[:, None] == classes).float()


def split_pass(joint: StudentPass, sizes: Sequence[int]) -> list[StudentPass]:
    """One pass of several concatenated batches -> the pass of each."""
    if len(sizes) == 1:
        return [joint]
    outputs = [[adapter.Output(logits, output.weight, output.box) for logits in output.logits.split(list(sizes))]
               for output in joint.outputs]
    return [StudentPass(features, tuple(parts[index] for parts in outputs))
            for index, features in enumerate(_split_features(joint.features, sizes))]


def _split_features(value: adapter.Features, sizes: Sequence[int]) -> list[adapter.Features]:
    if isinstance(value, Tensor):
        if len(value) != sum(sizes):
            raise ValueError(f'a feature map of shape {tuple(value.shape)} cannot be split into batches of '
                             f'{list(sizes)} images; give the model joint_views=()')
        return list(value.split(list(sizes)))
    if isinstance(value, (tuple, list)):
        return [type(value)(parts) for parts in zip(*(_split_features(item, sizes) for item in value))]
    raise TypeError(f'features of type {type(value).__name__} cannot be split into views; '
                    'give the model joint_views=()')
