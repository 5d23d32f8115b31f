"""The scores as a metric of evaluation loops."""

from collections.abc import Sequence

import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch import nn

from .scorer import Scorer
from .scores import check_scores
from .state import State


@METRICS.register_module()
class UnsupervisedMetric(BaseMetric):
    """Scores of a network that need no labels, as ``unsupervised/<score>``; larger is better for all of them.

    ``val_evaluator = dict(type='UnsupervisedMetric')`` with ``val_cfg = dict(type='TeacherStudentValLoop')`` validates
    on images without labels; ``default_hooks.checkpoint.save_best='unsupervised/infomax'`` with ``rule='greater'``
    keeps the best checkpoint. Beside an IoU metric it shows how well both agree.

    The loop passes the network to the metric, because most scores need passes over changed images: about six per
    image for all scores, one for those that read predictions only (entropy to density).

    Args:
        scores: names, see docs/selection.md; None takes all that can be computed for the network.
        seed: of the colour jitter.
        collect_device: where results of several processes are gathered, 'cpu' or 'gpu'.
        prefix: of each score's name.
    """

    default_prefix = 'unsupervised'

    def __init__(self, scores: Sequence[str] | str | None = None, seed: int = 0, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.scores = None if scores is None else check_scores(scores)
        self.seed = seed
        self.scorer: Scorer | None = None

    def bind(self, network: nn.Module, other: nn.Module | None = None) -> None:
        """Score this segmentor from now on; `other` is its teacher or student. Evaluation loops call it."""
        if not hasattr(network, 'inference'):
            raise ValueError('UnsupervisedMetric scores a single pass of a segmentor, but the model is '
                             f'{type(network).__name__}; evaluate without test-time augmentation')
        self.scorer = Scorer(network, other, self.scores, self.seed)

    @torch.no_grad()
    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        if self.scorer is None:
            raise ValueError('UnsupervisedMetric was given no network: the loop must be TeacherStudentValLoop or '
                             "TeacherStudentTestLoop; set val_cfg = dict(type='TeacherStudentValLoop')")
        self.scorer.update(self.scorer.network.data_preprocessor(data_batch, False)['inputs'])

    def evaluate(self, size: int) -> dict:
        self.results = [] if self.scorer is None else [self.scorer.state]
        metrics = super().evaluate(get_world_size())
        self.scorer = None
        return metrics

    def compute_metrics(self, results: list[State]) -> dict[str, float]:
        for state in results[1:]:
            results[0].merge(state)
        self.scorer.state = results[0]
        return self.scorer.results()
