"""IoU over all classes or a subset, with each class reported."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmseg_camix.datasets.encodings import CLASSES, SYNTHIA_13, SYNTHIA_16

# The classes over which the papers average.
SUBSETS: dict[str, tuple[str, ...]] = dict(cityscapes19=CLASSES, synthia16=SYNTHIA_16, synthia13=SYNTHIA_13)


@METRICS.register_module()
class SubsetIoUMetric(IoUMetric):
    """mmseg's IoUMetric, plus each class as ``IoU.<name>`` and means over subsets of classes.

    ``mIoU`` is the mean over ``classes``. Classes that the source lacks (SYNTHIA: terrain, truck, train) cannot be
    learned, and are excluded from means that are compared.

    Args:
        classes: names of the classes that count in ``mIoU``, or the name of a subset; None for all.
        subsets: further means by name, each over classes or over a named subset:
            ``dict(mIoU16='synthia16', mIoU13='synthia13', flat=('road', 'sidewalk'))``.
        ignore_index: label of pixels that do not count.
        output_dir: folder for predictions as PNGs of train ids; None disables it.
        format_only: write predictions without evaluating them (images without labels).
        keep_results: no effect; passed by mmseg's test tool together with ``output_dir``.
        prefix: of each metric's name.
        collect_device: where results of several processes are gathered, 'cpu' or 'gpu'.
    """

    def __init__(self, classes: str | Sequence[str] | None = None,
                 subsets: Mapping[str, str | Sequence[str]] | None = None, ignore_index: int = 255,
                 output_dir: str | None = None, format_only: bool = False, keep_results: bool = False,
                 prefix: str | None = None, collect_device: str = 'cpu') -> None:
        super().__init__(ignore_index=ignore_index, output_dir=output_dir, format_only=format_only,
                         prefix=prefix, collect_device=collect_device)
        self.classes = None if classes is None else subset_classes(classes)
        self.subsets = {key: subset_classes(subset) for key, subset in (subsets or {}).items()}
        self._saved: dict[str, str] = {}  # name of a saved prediction -> path of its image

    @property
    def dataset_meta(self) -> dict | None:
        """Metainfo of the evaluated data; set by the loop before training, which refuses means over other classes."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict | None) -> None:
        self._dataset_meta = meta
        names = list((meta or {}).get('classes') or ())
        wanted = {name for subset in (self.classes or (), *self.subsets.values()) for name in subset}
        if names and (unknown := sorted(wanted - set(names))):
            raise ValueError(f'mIoU over unknown classes {unknown}; the data set has {names}')

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Add a batch; refuse to save the predictions of two images in one file."""
        for path in (sample['img_path'] for sample in data_samples if self.output_dir is not None):
            name = Path(path).stem
            if (other := self._saved.setdefault(name, path)) != path:
                raise ValueError(f'{self.output_dir}/{name}.png: {other} and {path} would both be saved there; '
                                 '`mmseg-camix predict` keeps their folders')
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics in percent, of (intersection, union, predicted, labelled) pixels per class for each image."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        intersection, union = (sum(areas).double().numpy() for areas in list(zip(*results))[:2])
        with np.errstate(invalid='ignore'):
            per_class = 100 * intersection / union
        names = list(self.dataset_meta['classes'])
        if self.classes is not None:
            metrics['mIoU'] = _mean(per_class, names, self.classes)
        for key, subset in self.subsets.items():
            metrics[key] = _mean(per_class, names, subset)
        # A class that is neither labelled nor predicted has no IoU and is left out of means.
        metrics.update({f'IoU.{name}': round(float(iou), 2)
                        for name, iou in zip(names, per_class) if not np.isnan(iou)})
        return metrics


def subset_classes(subset: str | Sequence[str]) -> tuple[str, ...]:
    """The classes of a named subset; other sequences of classes as a tuple."""
    if not isinstance(subset, str):
        return tuple(subset)
    if subset not in SUBSETS:
        raise ValueError(f'unknown subset {subset!r}; available: {", ".join(SUBSETS)}. For other classes give their '
                         "names: ['road', 'grass']")
    return SUBSETS[subset]


def _mean(per_class: np.ndarray, names: list[str], subset: Sequence[str]) -> float:
    return round(float(np.nanmean([per_class[names.index(name)] for name in subset])), 2)
