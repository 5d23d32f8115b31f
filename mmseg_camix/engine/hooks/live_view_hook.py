"""The hook that draws pictures of training steps."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend

from mmseg_camix.datasets.folders import class_colours
from mmseg_camix.models.step import Step

from ..processes import unwrap_model
from .step_tap import StepTap

FACTS = ('loss', 'pseudo/confidence', 'significance/kept', 'significance/threshold')


@HOOKS.register_module()
class LiveViewHook(Hook):
    """Writes one picture of a step: source, target, mixed images, labels, weights, significance.

    It is written to ``<work_dir>/live/iter_N.png``, and to the visualiser's backends (TensorBoard, W&B) as the image
    ``live``. It shows what the student was given in that step; nothing is computed again, and no random numbers are
    drawn. Images are those of the first process.

    With mmseg-camix train: ``--cfg-options default_hooks.live.interval=500``.

    Args:
        interval: iterations between two pictures.
        images: number of images of the batch to show.
        width: of each tile in pixels.
        folder: within the work folder; None writes no files.
        first: whether to show the first iteration, too.
    """

    priority = 'LOW'

    def __init__(self, interval: int = 500, images: int = 2, width: int = 192, folder: str | None = 'live',
                 first: bool = True) -> None:
        if interval < 1 or images < 1 or width < 32:
            raise ValueError(f'LiveViewHook: interval={interval} and images={images} must be at least 1, '
                             f'width={width} at least 32')
        self.interval, self.images, self.width = interval, images, width
        self.folder, self.first = folder, first
        self._tap = StepTap()

    def before_train(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        if not hasattr(model, 'objectives'):
            print_log(f'LiveViewHook draws steps of adapted models; {type(model).__name__} is a plain model: '
                      'no pictures', 'current', logging.WARNING)
            return
        self._tap.attach(model)

    def after_train(self, runner: Runner) -> None:
        self._tap.close()

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        due = self.every_n_train_iters(runner, self.interval) or (self.first and runner.iter == 0)
        if due and runner.rank == 0:
            self._tap.request()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if (step := self._tap.take()) is not None:
            self._show(runner, self._picture(runner, step))

    def _picture(self, runner: Runner, step: Step) -> np.ndarray:
        from mmseg_camix.visualization.live_picture import compose, panels_of  # imports OpenCV and matplotlib
        model = unwrap_model(runner.model)
        info = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        classes = info.get('classes') or [f'class {index}' for index in range(step.num_classes)]
        palette = info.get('palette') or class_colours(classes)
        facts = [f'iteration {runner.iter + 1} of {runner.max_iters}']
        scalars = runner.message_hub.log_scalars
        facts += [f'{name.split("/")[-1]} {scalars[f"train/{name}"].current():.3g}' for name in FACTS
                  if f'train/{name}' in scalars]
        return compose(panels_of(step, model, palette, self.images), type(model).__name__, ',  '.join(facts),
                       classes, palette, self.width)

    def _show(self, runner: Runner, picture: np.ndarray) -> None:
        from mmseg_camix.visualization.sheets import write_png
        if self.folder is not None:
            path = Path(runner.work_dir) / self.folder / f'iter_{runner.iter + 1}.png'
            try:
                write_png(path, picture, clean=False)
            except OSError as error:  # a full disk must not stop the training
                print_log(f'no picture of this step: {error}', 'current', logging.WARNING)
        visualizer = getattr(runner, 'visualizer', None)
        for backend in getattr(visualizer, '_vis_backends', {}).values():
            if not (isinstance(backend, LocalVisBackend) and self.folder is not None):  # whose file exists already
                backend.add_image('live', picture, runner.iter + 1)
