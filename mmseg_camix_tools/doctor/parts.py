"""The data sets of a config: its branches and its validation sets, each with its pipeline."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from mmengine.config import Config, ConfigDict
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmseg_camix.datasets.base import RawSegDataset, spread_indices
from mmseg_camix.type_names import loads_label, type_name

from .findings import Finding


@dataclass
class Part:
    """A set of images with its pipeline."""

    name: str  # 'source', 'target', another branch, 'val' or 'test'
    cfg: ConfigDict  # config of the plain dataset
    wrappers: list[ConfigDict] = field(default_factory=list)  # configs of the datasets around it, outermost first
    dataset: Dataset | None = None  # the built dataset; None where it could not be built
    findings: list[Finding] = field(default_factory=list)  # errors of building it
    replaces_unreadable: bool = False  # whether the training replaces samples whose files are damaged
    needs_labels: bool = True  # whether the training or the metrics compare with labels

    @property
    def pipeline(self) -> list[dict]:
        """Transforms as the config has them."""
        return list(self.cfg.get('pipeline') or [])

    @property
    def labelled(self) -> bool:
        """Whether the pipeline loads labels."""
        return any(loads_label(t) for t in self.pipeline)

    @property
    def evaluates(self) -> bool:
        """Whether it is used for evaluation, not for training."""
        return self.name in ('val', 'test')

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the dataset's classes, if it has any."""
        classes = (getattr(self.dataset, 'metainfo', None) or {}).get('classes')
        return None if classes is None else tuple(classes)

    def infos(self, count: int = 0) -> list[dict]:
        """Descriptions of samples spread evenly over the set; 0 for all."""
        size = len(self.dataset)
        return [self.dataset.get_data_info(index) for index in spread_indices(size, count or size)]


def find_parts(cfg: Config) -> list[Part]:
    """All parts that training and evaluation read, built where that is possible."""
    parts = [Part(name, *_unwrapped(dataset)) for name, dataset in _datasets(cfg)]
    if not parts:
        raise SystemExit('the config has no train_dataloader and no val_dataloader; there is nothing to check')
    trained = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    for part in parts:
        part.replaces_unreadable = bool(trained.get('skip_unreadable')) and not part.evaluates
        part.needs_labels = part.name != 'target' and not (part.evaluates and _scores_only(cfg, part.name))
        _build(part)
    return parts


def _scores_only(cfg: Config, phase: str) -> bool:
    """Whether the metrics of 'val' or 'test' need no labels."""
    metrics = cfg.get(f'{phase}_evaluator') or []
    names = {type_name(metric) for metric in (metrics if isinstance(metrics, (list, tuple)) else [metrics])}
    return names == {'UnsupervisedMetric'}


def _datasets(cfg: Config) -> Iterator[tuple[str, ConfigDict]]:
    train = (cfg.get('train_dataloader') or {}).get('dataset')
    if train is not None and ('source' in train or 'target' in train):
        yield from ((name, value) for name, value in train.items() if isinstance(value, dict))
    elif train is not None:
        yield 'source', train
    val, test = ((cfg.get(f'{phase}_dataloader') or {}).get('dataset') for phase in ('val', 'test'))
    if val is not None:
        yield 'val', val
    if test is not None and test != val:
        yield 'test', test


def _unwrapped(dataset: ConfigDict) -> tuple[ConfigDict, list[ConfigDict]]:
    wrappers = []
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        wrappers.append(dataset)
        dataset = dataset['dataset']
    return dataset, wrappers


def _build(part: Part) -> None:
    try:
        reader = DATASETS.get(part.cfg.type) if isinstance(part.cfg.type, str) else part.cfg.type
        is_ours = isinstance(reader, type) and issubclass(reader, RawSegDataset)
        part.dataset = DATASETS.build(dict(part.cfg, lazy_init=True) if is_ours else part.cfg)
        if is_ours:
            part.dataset.drop_incomplete = True  # all complete samples are checked
        if hasattr(part.dataset, 'full_init'):
            part.dataset.full_init()
    except Exception as error:  # any error of a dataset is a finding
        part.findings.append(Finding('error', part.name, f'the dataset cannot be built: {_describe(error)}',
                                     f'correct the entry `{part.name}` of the config ({type_name(part.cfg)})'))
        part.dataset = None
        return
    for kind, paths in getattr(part.dataset, 'missing', {}).items():
        part.findings.append(missing_files(part.name, kind, paths, len(paths) + len(part.dataset)))
    if 'datasets' in part.cfg:
        part.findings.append(Finding('note', part.name, f'{type_name(part.cfg)} joins data sets, which are not opened',
                                     f'check them one by one, each as the whole entry `{part.name}` of the config'))
        part.dataset = None
    elif len(part.dataset) == 0 or not hasattr(part.dataset, 'get_data_info'):
        part.findings.append(Finding(
            'error', part.name, f'{type_name(part.cfg)} has no samples that can be read ({len(part.dataset)})',
            'check its data_root, folders and suffixes'))
        part.dataset = None


def missing_files(part: str, kind: str, paths: list[str], of: int) -> Finding:
    """The finding about missing images or labels."""
    return Finding('error', part, f'{kind}s are missing',
                   'restore them, check the suffix, or list the other images in an `ann_file`', paths, of)


def _describe(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if 'need at least one array' in text:  # mmengine's error about an empty list
        text = 'it finds no image; check data_root, folders and suffixes'
    return text if isinstance(error, (OSError, ValueError)) else f'{type(error).__name__}: {text}'
