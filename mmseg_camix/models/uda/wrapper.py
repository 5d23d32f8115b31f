"""The wrapper that turns any registered segmentor into one that adapts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from mmengine.model import BaseModel
from mmseg.registry import MODELS, TRANSFORMS
from torch import Tensor, nn

from mmseg_camix.ops.augment import StrongAugment

from .. import adapter
from .. import masks as masks_module
from .. import objectives as objectives_module
from .. import views as views_module
from ..processes import Processes
from ..pseudo_labels import PseudoLabels
from ..step import Progress, Step, StudentPass, View
from ..teacher import EMATeacher
from . import passes, tables
from .acceleration import accelerate
from .branches import branch_view, check_branches
from .inference import InferenceConfig
from .loading import hand_to_networks
from .preprocessor import BranchPreprocessor, with_preprocessor
from .randomness import StepGenerators

BRANCHES = ('source', 'target')
NETWORKS = ('student', 'teacher')


@MODELS.register_module()
class UDASegmentor(InferenceConfig, BaseModel):
    """A student, its mean teacher, and three tables: masks -> views -> objectives.

    Methods (``DACS``, ``CAMix``, ...) are subclasses that fill :attr:`defaults` and add no behaviour.
    What a config gives is merged into the defaults: ``masks=dict(classes=dict(ratio=0.3))`` changes
    one argument, ``objectives=dict(mixed=None)`` removes an entry.

    Args:
        segmentor: config of any mmseg segmentor whose head gives per-pixel logits. Number of
            classes, ignored index, align_corners, normalisation and crop size are read from it.
        masks: name -> config of a mask (a region of one branch's images).
        views: name -> config of a view (an image that the student sees, with its targets).
        objectives: name -> config of a loss on a view.
        pseudo_labels: config of the pseudo-labeller; None where no target labels are needed.
        teacher: arguments of :class:`EMATeacher`.
        augment: arguments of :class:`StrongAugment`, for views that ask for it.
        predict_with: 'student' or 'teacher', the network that ``predict`` uses unless the
            evaluation loop says otherwise.
        branches: what the paired data set delivers; None takes the method's.
        joint_views: groups of views that the student sees as one batch, which is faster. Each still
            passes once, but normalisation layers that use the batch's statistics then share them
            among the group. None takes the method's; () lets each view pass alone.
        data_preprocessor: for a segmentor whose config has none of its own. (mmengine's Runner puts the
            config's top-level ``data_preprocessor`` here, which may lack what the segmentor's adds.)
        global_batch: whether the images of all processes are one batch, as if one process had them: q,
            normalisers and memory banks are common, and so is what is drawn. Else each process has its
            own, and only gradients are averaged.
        acceleration: arguments of :func:`accelerate`: channels_last, checkpointing, compile.
        init_cfg: weights of the whole model.
        train_cfg, pretrained: None, which mmseg's ``init_model`` gives to every model.
    """

    defaults: dict = {}

    def __init__(self, segmentor: dict, masks: dict | None = None, views: dict | None = None,
                 objectives: dict | None = None, pseudo_labels: dict | None = None,
                 teacher: dict | None = None, augment: dict | None = None,
                 predict_with: str | None = None, branches: Iterable[str] | None = None,
                 joint_views: Sequence[Sequence[str]] | None = None, data_preprocessor: dict | None = None,
                 global_batch: bool = False, acceleration: dict | None = None, init_cfg: dict | None = None,
                 train_cfg: None = None, pretrained: None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        cfg = tables.merge_method(self.defaults, dict(masks=masks, views=views, objectives=objectives),
                                  dict(pseudo_labels=pseudo_labels, teacher=teacher, augment=augment))
        self.student = MODELS.build(with_preprocessor(segmentor, data_preprocessor))
        adapter.check(self.student)
        self.data_preprocessor = BranchPreprocessor(self.student.data_preprocessor)
        self.global_batch = global_batch
        self.branches = tuple(branches or self.defaults.get('branches', BRANCHES))
        self._build_tables(cfg)
        tables.check_groups(joint_views or (), (*self.branches, *self.views))
        self.joint_views = self.defaults.get('joint_views', ()) if joint_views is None else joint_views
        self._build_teacher(cfg)
        preprocessor = self.data_preprocessor
        self.stride = adapter.check_crop(self.student, preprocessor.crop_size)
        self._bind_objectives()
        self.predict_with = self._checked_network(predict_with or self.defaults.get('predict_with', NETWORKS[0]))
        self.augment = tables.construct("'augment'", StrongAugment, cfg.get('augment', {}), preprocessor.mean,
                                        preprocessor.std, preprocessor.channel_order)
        self.progress: Progress | None = None
        # A profiler puts its stop-watch here; each phase of a step runs within it.
        self.phase: Callable[[str], AbstractContextManager] = lambda name: nullcontext()
        self._generators = StepGenerators()
        tables.construct("'acceleration'", accelerate, acceleration or {}, self.student,
                         self.teacher and self.teacher.model)

    def _build_tables(self, cfg: dict) -> None:
        self.masks = tables.build_table('mask', cfg['masks'], TRANSFORMS, masks_module.Mask)
        self.views = tables.build_table('view', cfg['views'], TRANSFORMS, views_module.ViewBuilder)
        self.objectives = tables.build_table('objective', cfg['objectives'], MODELS, objectives_module.Objective)
        tables.check_references(self.masks, self.views, self.objectives, self.branches)
        self.view_order = tables.ordered(
            self.views, lambda name: [other for other in self.views[name].reads if other in self.views])

    def _build_teacher(self, cfg: dict) -> None:
        self.pseudo_labels = self.teacher = None
        if 'pseudo_labels' in cfg:
            self.pseudo_labels = tables.build_entry(
                'entry', 'pseudo_labels', {'type': 'PseudoLabels', **cfg['pseudo_labels']}, MODELS, PseudoLabels)
            self.pseudo_labels.set_num_classes(self.num_classes)
            self.pseudo_labels.keep_probs = any(o.needs_probs for o in self.objectives.values())
            self.teacher = tables.construct("'teacher'", EMATeacher, cfg.get('teacher', {}), self.student)
        elif 'target' in self._branches_read():
            raise tables.TableError("a mask, view or objective reads 'target', whose labels are "
                                    'pseudo-labels, but there is no pseudo-labeller; give pseudo_labels=dict()')

    def _bind_objectives(self) -> None:
        for name, objective in self.objectives.items():
            tables.construct(f"objective '{name}'", objective.bind, {}, self)
            self.stride = max(self.stride, objective.stride or 1)

    def _branches_read(self) -> list[str]:
        readers = (*self.objectives.values(), *self.masks.values(), *self.views.values())
        read = {name for reader in readers for name in reader.reads}
        if self.pseudo_labels is not None:
            read.add('target')
        return [name for name in self.branches if name in read]

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks that can predict."""
        return NETWORKS if self.teacher is not None else NETWORKS[:1]

    def _checked_network(self, name: str) -> str:
        if name not in self.networks:
            raise ValueError(f"predict_with='{name}' is not one of {', '.join(self.networks)}")
        return name

    def network(self, name: str | None = None) -> nn.Module:
        """The student or the teacher as a plain segmentor; by default the one that predicts."""
        name = self._checked_network(name or self.predict_with)
        return self.student if name == 'student' else self.teacher.model

    @property
    def num_classes(self) -> int:
        """Number of classes, as the segmentor's head says."""
        return adapter.main_head(self.student).num_classes

    def forward(self, inputs: dict[str, Tensor] | Tensor, data_samples: dict | list | None = None,
                mode: str = 'tensor') -> dict | list | Tensor:
        """As mmseg's segmentors; only ``mode='loss'`` takes branches of images."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.network()(inputs, data_samples, mode)

    def loss(self, inputs: dict[str, Tensor] | Tensor, data_samples: dict | list) -> dict[str, Tensor]:
        """One step: pseudo-labels -> masks -> views -> student -> objectives."""
        if isinstance(inputs, Tensor):  # a plain data set trains the source branch alone
            inputs, data_samples = {'source': inputs}, {'source': data_samples}
        step = self._begin(inputs, data_samples)
        with torch.no_grad():
            self._prepare(step, inputs, data_samples)
        for names, decodes in passes.grouped(self._views_seen(), self.joint_views):
            with self.phase(f'{" + ".join(names)} forward'):
                images = [step.views[name].image for name in names]
                seen = self._see(torch.cat(images) if len(images) > 1 else images[0], decodes)
                step.passes.update(zip(names, passes.split(seen, [len(image) for image in images])))
        losses, active = {}, self._active_objectives()
        for name, objective in self.objectives.items():
            with self.phase(f'{objective.view} forward'):
                found = objective(step, self.student) if name in active else objective.idle()
                losses.update({f'{name}.{key}': value for key, value in found.items()})
        return {**losses, **step.statistics}

    def _prepare(self, step: Step, inputs: dict[str, Tensor], data_samples: dict) -> None:
        """All that needs no gradient: branches with their labels, masks, views."""
        if self.pseudo_labels is not None:
            step.teacher = self.teacher
            with self.phase('teacher forward'):
                features, step.teacher_logits = self.teacher.see(inputs['target'])
            if any(o.needs_teacher_features for o in self._active_objectives().values()):
                step.teacher_features = features
        with self.phase('labels, masks, views'):
            for name, image in inputs.items():
                step.views[name] = self._branch(step, name, image, data_samples[name])
            views, masks = tables.needed(self.views, self.view_order, self._views_seen(), step.progress)
            masks += [o.mask for o in self._active_objectives().values() if o.mask is not None]
            for name in dict.fromkeys(masks):
                step.masks[name] = self.masks[name](step)
            for name in views:
                step.views[name] = self.views[name](step)
                if self.views[name].augment:
                    step.views[name] = views_module.strongly_augmented(step.views[name], self.augment, step)

    def _begin(self, inputs: dict[str, Tensor], data_samples: dict) -> Step:
        if self.progress is None:
            raise RuntimeError(
                'nobody told the model where the training stands, so its teacher would never move. Add '
                "`custom_hooks = [dict(type='UDAHook')]` to the config (or inherit "
                'configs/_base_/uda.py); outside a Runner call `model.set_progress(...)`')
        check_branches(type(self).__name__, self._branches_read(), inputs)
        device = next(iter(inputs.values())).device
        processes = Processes.of_training() if self.global_batch else Processes()
        generator, cpu_generator = self._generators.at(self.progress, device, processes)
        head = adapter.main_head(self.student)
        return Step(self.progress, head.num_classes, head.ignore_index, head.align_corners, generator, cpu_generator,
                    samples=data_samples, stride=self.stride, processes=processes)

    def _branch(self, step: Step, name: str, image: Tensor, samples: list) -> View:
        if name == 'target' and self.pseudo_labels is not None:
            return self.pseudo_labels(step, image)
        with_probs = self.pseudo_labels is not None and self.pseudo_labels.keep_probs
        return branch_view(name, image, samples, step.num_classes, with_probs)

    def _active_objectives(self) -> dict[str, objectives_module.Objective]:
        return {name: objective for name, objective in self.objectives.items() if objective.active(self.progress)}

    def _views_seen(self) -> dict[str, bool]:
        return passes.views_seen(self._active_objectives().values())

    def _see(self, image: Tensor, decodes: bool) -> StudentPass:
        features = adapter.extract(self.student, image)
        return StudentPass(features, adapter.decode(self.student, features) if decodes else None)

    def prepare(self, metainfo: dict) -> None:
        """Give every part what it needs of the data set; called before training by the hook."""
        for part in (*self.masks.values(), *self.objectives.values()):
            part.prepare(metainfo)
        if self.pseudo_labels is not None:
            self.pseudo_labels.prepare(metainfo)

    def set_progress(self, iteration: int, max_iters: int, seed: int = 0) -> None:
        """Tell the model where the training stands; called before each step by the hook."""
        self.progress = Progress(iteration, max_iters, seed)

    def update_teacher(self) -> None:
        """Move the teacher towards the student; called after each step by the hook."""
        if self.teacher is not None:
            self.teacher.update(self.student)
        for objective in self.objectives.values():
            objective.after_step()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        """A checkpoint of a plain segmentor is loaded into both networks."""
        hand_to_networks(state_dict, prefix, self.teacher is not None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
