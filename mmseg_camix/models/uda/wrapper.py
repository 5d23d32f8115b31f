"""The wrapper that adapts any registered segmentor: how it is built, and how it predicts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmseg.registry import MODELS, TRANSFORMS
from torch import Tensor

from mmseg_camix.ops.augment import StrongAugment

from .. import adapter
from ..building import Table, TableError, build_entry, build_table, check_arguments, choices, construct
from ..masks import Mask
from ..objectives import Objective
from ..pseudo_labels import PseudoLabels
from ..teacher import EMATeacher
from ..views import ViewBuilder
from . import tables
from .acceleration import accelerate
from .algorithm import UDAAlgorithm
from .backward import MODES as BACKWARD_MODES
from .inference import InferenceConfig
from .loading import forget_steps_of_partial_teacher, remap_plain_weights
from .preprocessor import BranchPreprocessor, with_preprocessor

BRANCHES = ('source', 'target')
NETWORKS = ('student', 'teacher')


@MODELS.register_module()
class UDASegmentor(InferenceConfig, UDAAlgorithm):
    """A student, its mean teacher, and three tables: masks -> views -> objectives.

    Methods (``DACS``, ``CAMix``, ...) are subclasses that fill :attr:`defaults` and add no behaviour. A config's
    arguments are merged into the defaults: ``masks=dict(classes=dict(ratio=0.3))`` changes one argument,
    ``objectives=dict(mixed=None)`` removes an entry.

    Args:
        segmentor: config of any mmseg segmentor whose head gives per-pixel logits. Number of classes, ignored index,
            align_corners, normalisation and crop size are read from it.
        masks: name -> config of a mask (a region of one branch's images).
        views: name -> config of a view (an image for the student, with its targets).
        objectives: name -> config of a loss on a view.
        pseudo_labels: config of the pseudo-labeller; None if no target labels are needed.
        teacher: arguments of :class:`EMATeacher`.
        augment: arguments of :class:`StrongAugment`, for views with ``augment=True``.
        predict_with: 'student' or 'teacher', the network that ``predict`` uses unless the evaluation loop chooses
            another.
        branches: what the paired data set delivers; None takes the method's.
        joint_views: groups of views that pass through the student as one batch, which is faster. Normalisation layers
            that use the batch's statistics then share them among the group. None takes the method's; () passes each
            view by itself.
        data_preprocessor: for a segmentor whose config has none of its own. (mmengine's Runner puts the config's
            top-level ``data_preprocessor`` here, which may lack what the segmentor's adds.)
        global_batch: whether the images of all processes are one batch, as if one process had them: q, normalisers,
            memory banks and random draws are then shared. Otherwise each process has its own, and only gradients are
            averaged.
        backward: 'summed' goes backward once, through the graphs of all views; 'each' after each view (views that share
            an objective together), so that one graph is in memory at a time. Gradients are the same. None takes the
            segmentor's ``preferred_backward`` if it has one, otherwise 'summed'.
        acceleration: arguments of :func:`accelerate`: channels_last, checkpointing, compile.
        init_cfg: weights of the whole model.
        train_cfg, pretrained: None, which mmseg's ``init_model`` gives to every model.
    """

    defaults: dict[str, Any] = {}
    # Checkpoints may lack whatever is no weight of a network.
    optional_weights = ('masks.', 'views.', 'objectives.', 'pseudo_labels.', 'teacher.steps')

    def __init__(self, segmentor: dict[str, Any], masks: dict[str, Any] | None = None,
                 views: dict[str, Any] | None = None, objectives: dict[str, Any] | None = None,
                 pseudo_labels: dict[str, Any] | None = None, teacher: dict[str, Any] | None = None,
                 augment: dict[str, Any] | None = None, predict_with: str | None = None,
                 branches: Iterable[str] | None = None, joint_views: Sequence[Sequence[str]] | None = None,
                 data_preprocessor: dict[str, Any] | None = None, global_batch: bool = False,
                 backward: str | None = None, acceleration: dict[str, Any] | None = None,
                 init_cfg: dict[str, Any] | None = None, train_cfg: None = None, pretrained: None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        cfg = tables.merge_method(self.defaults, dict(masks=masks, views=views, objectives=objectives),
                                  dict(pseudo_labels=pseudo_labels, teacher=teacher, augment=augment))
        adapter.check_config(segmentor)
        self.student = MODELS.build(with_preprocessor(segmentor, data_preprocessor))
        adapter.check(self.student)
        self.data_preprocessor = BranchPreprocessor(self.student.data_preprocessor)
        self.global_batch = global_batch
        self.backward = str(backward or getattr(self.student, 'preferred_backward', BACKWARD_MODES[0]))
        if self.backward not in BACKWARD_MODES:
            raise ValueError(f"backward='{self.backward}' must be one of {', '.join(BACKWARD_MODES)}")
        self.branches = tuple(branches or self.defaults.get('branches', BRANCHES))
        self._build_tables(cfg)
        tables.check_groups(joint_views or (), (*self.branches, *self.views))
        self.joint_views = self.defaults.get('joint_views', ()) if joint_views is None else joint_views
        self._build_teacher(cfg)
        self.stride = adapter.check_crop(self.student, self.crop_size)
        self._check_drawn_crops()
        self._bind_parts()
        self.predict_with = self._checked_network(predict_with or self.defaults.get('predict_with', NETWORKS[0]))
        preprocessor = self.data_preprocessor
        self.augment = construct("'augment'", StrongAugment, cfg.get('augment', {}), preprocessor.mean,
                                 preprocessor.std, preprocessor.channel_order)
        construct("'acceleration'", accelerate, acceleration or {}, self.student, self.teacher and self.teacher.model)

    def _build_tables(self, cfg: Mapping[str, Any]) -> None:
        self.masks = build_table('mask', cfg['masks'], TRANSFORMS, Mask)
        self.views = build_table('view', cfg['views'], TRANSFORMS, ViewBuilder)
        self.objectives = build_table('objective', cfg['objectives'], MODELS, Objective)
        tables.check_references(self.masks, self.views, self.objectives, self.branches)
        self.view_order = tables.ordered(
            self.views, lambda name: [other for other in self.views[name].reads if other in self.views])

    def _build_teacher(self, cfg: Mapping[str, Any]) -> None:
        self.pseudo_labels = self.teacher = None
        if 'pseudo_labels' in cfg:
            self.pseudo_labels = build_entry(
                'entry', 'pseudo_labels', {'type': 'PseudoLabels', **cfg['pseudo_labels']}, MODELS, PseudoLabels)
            self.pseudo_labels.set_num_classes(self.num_classes)
            self.pseudo_labels.set_normalisation(self.data_preprocessor.std, self.data_preprocessor.channel_order)
            self.pseudo_labels.keep_probs = any(o.needs_probs for o in self.objectives.values())
            self.teacher = construct("'teacher'", EMATeacher, cfg.get('teacher', {}), self.student)
        elif 'target' in self._branches_read():
            raise TableError("a mask, view or objective reads 'target', whose labels are "
                             'pseudo-labels, but there is no pseudo-labeller; give pseudo_labels=dict()')

    def _bind_parts(self) -> None:
        for name, objective in self.objectives.items():
            objective.name = name
        parts: dict[str, Table[Any]] = dict(mask=self.masks, view=self.views, objective=self.objectives)
        for kind, table in parts.items():
            for name, part in table.items():
                construct(f"{kind} '{name}'", part.bind, {}, self)
        self.stride = max(self.stride, *(objective.stride or 1 for objective in self.objectives.values()))

    def _check_drawn_crops(self) -> None:
        """Raise if a part does not suit a segmentor that draws crops of its own."""
        if not adapter.draws_crops(self.student):
            return
        name = type(self.student).__name__
        if any(len(tuple(group)) > 1 for group in self.joint_views):
            raise TableError(f'joint_views={self.joint_views}: {name} draws a detail for each view, so that views '
                             'cannot share a pass; give the model joint_views=()')
        significance = self.pseudo_labels and self.pseudo_labels.significance
        if significance and self.crop_size is not None:
            size = tuple(int(side * significance.scale) for side in self.crop_size)
            construct(f'significance.scale={significance.scale}', self.student.check_size, {}, size)

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks that can predict."""
        return NETWORKS if self.teacher is not None else NETWORKS[:1]

    def _checked_network(self, name: str) -> str:
        if name not in self.networks:
            raise ValueError(f"predict_with='{name}' is not one of {', '.join(self.networks)}")
        return name

    def network(self, name: str | None = None) -> Any:
        """The student or the teacher as a plain segmentor; by default the one that predicts."""
        name = self._checked_network(name or self.predict_with)
        return self.student if name == 'student' or self.teacher is None else self.teacher.model

    @property
    def num_classes(self) -> int:
        """Number of classes of the segmentor's head."""
        return int(adapter.main_head(self.student).num_classes)

    @property
    def decode_head(self) -> Any:
        """The head that predicts; mmseg's test-time augmentation (`SegTTAModel`) reads its threshold."""
        return adapter.main_head(self.network())

    @property
    def out_channels(self) -> int:
        """Number of channels of the logits; mmseg's test-time augmentation reads it."""
        return int(self.decode_head.out_channels)

    @property
    def crop_size(self) -> tuple[int, int] | None:
        """(height, width) of training crops, or None if the preprocessor has none."""
        size: tuple[int, int] | None = self.data_preprocessor.crop_size
        return size

    def forward(self, inputs: dict[str, Tensor] | Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """As mmseg's segmentors; only ``mode='loss'`` takes branches of images."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.network()(inputs, data_samples, mode)

    def restart(self) -> None:
        """Discard what objectives loaded of another training; the hook calls it unless the training is resumed."""
        for objective in self.objectives.values():
            objective.restart()

    def prepare(self, metainfo: Mapping[str, Any]) -> None:
        """Pass the data set's metainfo (class names) to every part; the hook calls it before training."""
        parts: list[Mask | Objective] = [*self.masks.values(), *self.objectives.values()]
        for part in parts:
            part.prepare(metainfo)
        if self.pseudo_labels is not None:
            self.pseudo_labels.prepare(metainfo)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Load a checkpoint; that of a plain segmentor into both networks."""
        remap_plain_weights(state_dict, prefix, self.teacher is not None)
        if self.teacher is not None:
            forget_steps_of_partial_teacher(state_dict, prefix, self.teacher.model)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def check_model_config(cfg: Mapping[str, Any]) -> None:
    """Raise if the config's model has an unknown type, or is an adapted one with an unknown argument."""
    kind = cfg.get('type')
    if isinstance(kind, str) and '.' not in kind and MODELS.get(kind) is None:
        raise TableError(f"model: type '{kind}' is not registered (a custom one needs custom_imports)"
                         f'{choices(kind, methods())}')
    if method := method_of(cfg):
        check_arguments(f'model ({method.__name__})', method, [name for name in cfg if name not in ('type', '_scope_')])


def method_of(model: Mapping[str, Any]) -> type[UDASegmentor] | None:
    """The class of an adapted model by its config; None for other models."""
    kind = model.get('type')
    cls = kind if isinstance(kind, type) else MODELS.get(kind) if kind else None
    return cls if isinstance(cls, type) and issubclass(cls, UDASegmentor) else None


def methods() -> list[str]:
    """Registered names of the methods."""
    return [name for name, cls in MODELS.module_dict.items() if isinstance(cls, type) and issubclass(cls, UDASegmentor)]
