"""Evaluation options applied to a config: resolution, sliding windows, test-time augmentation."""

from collections.abc import Sequence

from mmengine.config import Config, ConfigDict

from mmseg_camix.evaluation import SUBSETS
from mmseg_camix.type_names import loads_label, type_name

RESOLUTIONS = ('paper', 'input', 'native')


def evaluate_at(cfg: Config, resolution: str) -> None:
    """Choose the size at which predictions and labels of the test set are compared.

    'paper': as published for the method, which is what its config has; 'input': the size of the network's input
    (1024x512 in the configs of the real sets), to which labels are resized, too; 'native': the size of the label file,
    to which predictions are enlarged.
    """
    if resolution not in RESOLUTIONS:
        raise SystemExit(f'resolution {resolution!r} is not one of {", ".join(RESOLUTIONS)}')
    if resolution == 'paper':
        return
    pipeline = _pipeline(cfg)
    labels = [t for t in pipeline if loads_label(t)]
    others = [t for t in pipeline if not loads_label(t) and type_name(t) != 'EvaluateAtResizedShape']
    resized = [i for i, t in enumerate(others) if type_name(t) == 'Resize']
    if not resized:
        raise SystemExit('the test pipeline has no Resize: images keep their own size and both resolutions are equal; '
                         'give --input-size WIDTH HEIGHT, or omit --resolution')
    after = resized[-1] + 1
    if resolution == 'native':
        order = [*others[:after], *labels, *others[after:]]
    else:
        order = [others[0], *labels, *others[1:after], dict(type='EvaluateAtResizedShape'), *others[after:]]
    cfg.test_dataloader.dataset.pipeline = order


def set_input_size(cfg: Config, width: int, height: int) -> None:
    """Resize test images to another size before they reach the network."""
    pipeline = [dict(t) for t in _pipeline(cfg)]
    resizes = [t for t in pipeline if type_name(t) == 'Resize']
    if not resizes:
        pipeline.insert(1, dict(type='Resize', scale=(width, height)))
    for resize in resizes:
        resize.pop('scale_factor', None)
        resize['scale'] = (width, height)
    cfg.test_dataloader.dataset.pipeline = pipeline


def slide(cfg: Config, window: Sequence[int] | None = None, stride: Sequence[int] | None = None) -> None:
    """Predict in overlapping windows (height, width); by default the training crop, overlapping by half."""
    segmentor = plain_segmentor(cfg)
    window = window or (segmentor.get('data_preprocessor') or {}).get('size') or cfg.get('crop_size')
    if window is None:
        raise SystemExit('the config has no crop size for the sliding window; give --slide WINDOW STRIDE')
    stride = stride or [max(1, side // 2) for side in window]
    if any(step > side for step, side in zip(stride, window)):
        raise SystemExit(f'--slide: a window of {tuple(window)} with a stride of {tuple(stride)} skips pixels; the '
                         'stride must not exceed the window')
    segmentor.test_cfg = dict(mode='slide', crop_size=tuple(window), stride=tuple(stride))


def augment(cfg: Config, scales: Sequence[float]) -> None:
    """Average predictions over scales and mirrored images."""
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='AugmentedViews', transforms=_pipeline(cfg), scales=tuple(scales), flip=True)]
    cfg.model = dict(type='AveragedViews', module=cfg.model)


def report_classes(cfg: Config, subsets: Sequence[str] = ()) -> None:
    """Make the metric of the test report each class, and means over named subsets.

    mmseg's `IoUMetric`, which reports only means, is replaced; the numbers are the same.
    """
    metric = cfg.test_evaluator
    if not isinstance(metric, dict) or metric.get('type') not in ('IoUMetric', 'SubsetIoUMetric'):
        if subsets:
            raise SystemExit("--subsets needs a test_evaluator of type 'SubsetIoUMetric', or mmseg's 'IoUMetric'")
        return
    if metric.get('iou_metrics', ['mIoU']) == ['mIoU']:
        arguments = {key: value for key, value in metric.items() if key != 'iou_metrics'}
        means = {f'mIoU{len(SUBSETS[name])}': name for name in subsets}
        cfg.test_evaluator = dict(arguments, type='SubsetIoUMetric')
        if means:
            cfg.test_evaluator.subsets = {**arguments.get('subsets', {}), **means}


def plain_segmentor(cfg: Config) -> ConfigDict:
    """The config of the segmentor: that within an adapted model, or the model itself."""
    return cfg.model.get('segmentor') or cfg.model


def _pipeline(cfg: Config) -> list[dict]:
    dataset = cfg.test_dataloader.dataset
    if 'pipeline' not in dataset:
        raise SystemExit(f'the test dataset ({dataset.get("type")}) has no `pipeline` of its own (it combines '
                         'others); the evaluation options need a plain one')
    return list(dataset.pipeline)


def evaluation_settings(cfg: Config, scales: Sequence[float] | None) -> dict:
    """How a config evaluates, for the record: resolution, inference, and scales of augmentation."""
    pipeline = _pipeline(cfg) if 'pipeline' in cfg.test_dataloader.dataset else []
    resizes = [t for t in pipeline if type_name(t) == 'Resize']
    images = 'images'
    if resizes and isinstance(scale := resizes[-1].get('scale'), (list, tuple)):
        images = f'images at {scale[0]}x{scale[1]}'
        if resizes[-1].get('keep_ratio'):  # the scale limits the long and the short side
            images = f'images resized to at most {scale[0]}x{scale[1]}, aspect ratio kept'
    inference = plain_segmentor(cfg).get('test_cfg') or {}
    windows = ', whole'
    if inference.get('mode') == 'slide':
        windows = f' in windows of {tuple(inference["crop_size"])} by {tuple(inference["stride"])}'
    at_input_size = any(type_name(t) == 'EvaluateAtResizedShape' for t in pipeline)
    return dict(resolution='input' if at_input_size else 'native', inference=f'{images}{windows}',
                scales=None if scales is None else list(scales), flip=scales is not None)
