"""Call prepare.py within the test's process."""

from pathlib import Path

from mmseg_camix_tools.preparation import Options, prepare
from mmseg_camix_tools.preparation.class_stats import STATS_FILE
from tests.tools_runner import call

TOOL = 'dataset/prepare.py'
CONFIG = '''\
default_scope = 'mmseg'
pipeline = [dict(type='LoadImage'), dict(type='LoadIdLabels'), dict(type='Resize', scale=(34, 18)),
            dict(type='RecordedRandomCrop', crop_size=(9, 11)), dict(type='PackUDAInputs')]
target_pipeline = [dict(type='LoadImage'), dict(type='Resize', scale=(26, 14)),
                   dict(type='RecordedRandomCrop', crop_size=(9, 11)), dict(type='PackUDAInputs')]
data_root = 'data'
train_dataloader = dict(dataset=dict(
    type='PairedDataset',
    source=dict(type='RareClassDataset', dataset=dict(type='GTADataset', data_root='data/gta', pipeline=pipeline)),
    target=dict(type='RawCityscapesDataset', data_root='data/cityscapes',
                data_prefix=dict(img_path='leftImg8bit/train'), pipeline=target_pipeline)))
'''


def main(*arguments: object) -> object:
    """Run the tool on a part of a download in one process; return its exit code or its error."""
    return call(TOOL, *arguments, '--any-count', '--jobs', 1)


def write_config(folder: Path) -> Path:
    """A config that trains on GTA and Cityscapes."""
    path = folder / 'config.py'
    path.write_text(CONFIG)
    return path


def digests(family: str, root: Path, config: Path | None = None) -> dict[str, str]:
    """Of all results, made in this process without the tool's quick answer."""
    options = Options(config=config and str(config), cache=config is not None, any_count=True)
    outcome = prepare(family, root, root, options, {})
    assert not outcome.problems
    return outcome.digests


def results(root: Path) -> dict[str, bytes]:
    """Content of every file that is for training, by its path."""
    names = ('defects.json', STATS_FILE, 'samples_with_class.json')
    files = [*(root / name for name in names), *sorted((root / 'cache').rglob('*.*')),
             *sorted((root.parent / 'priors').glob('*'))]
    return {str(file.relative_to(root.parent)): file.read_bytes() for file in files if file.is_file()}
