"""The files of an export, and how to open them again."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from mmseg_camix.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from mmseg_camix.checkpoint.config_text import format_config, parse_config, without_templates
from mmseg_camix.checkpoint.reader import check_header
from mmseg_camix.engine.config import load_config
from mmseg_camix.files import atomic_write, check_place, printable
from mmseg_camix.models import adapter
from mmseg_camix.type_names import type_name
from mmseg_camix.version import __version__

from . import ExportError
from .metainfo import mapping
from .plain import PlainNetwork, built, plain_network
from .segmentor import foreign_modules, in_stock_terms

CONFIG, WEIGHTS, SAFETENSORS, ONNX = 'config.py', 'model.pth', 'model.safetensors', 'model.onnx'
FORMATS = dict(mmseg=(CONFIG, WEIGHTS), safetensors=(SAFETENSORS,), onnx=(ONNX,))
# How far logits may differ between two programs of the same mathematics, as a share of the largest.
TOLERANCE = 1e-4


def refuse_leftovers(folder: Path, formats: Collection[str]) -> None:
    """Raise where a folder has files of an export that one in these formats would not replace."""
    left = {file: name for name, files in FORMATS.items() if name not in formats
            for file in files if (folder / file).exists()}
    if left:
        every = ' '.join(name for name in FORMATS if name in formats or name in left.values())
        raise ExportError(f'{folder} has {" and ".join(left)}, which this export would not replace, so that the folder '
                          'could mix two networks; choose another --out, remove that folder, or write all formats: '
                          f'--formats {every}')


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move to `folder` at the end; if an error is raised, none does."""
    if folder.exists() and not folder.is_dir():
        raise ExportError(f'{folder} is a file; give a folder with --out')
    place = folder if folder.is_dir() else folder.parent  # within a folder that exists: it may be a disk of its own
    check_place(place / f'.{folder.name}')
    with TemporaryDirectory(prefix=f'.{folder.name}.', dir=place) as partial:
        yield Path(partial)
        folder.mkdir(exist_ok=True)
        for file in sorted(Path(partial).iterdir()):
            file.replace(folder / file.name)


@dataclass(frozen=True)
class Report:
    """Summary of an export to mmseg."""

    difference: float
    """Largest difference of logits between what was written and the network itself."""
    foreign: dict[str, str]
    """Class -> module, for those that mmseg does not have."""
    paths: tuple[str, ...]
    """Text in the config that looks like the path of a file."""

    @property
    def packages(self) -> list[str]:
        """Packages that must be installed besides mmseg."""
        return sorted({module.split('.')[0] for module in self.foreign.values()})


def mmseg_config(network: PlainNetwork) -> tuple[dict, dict[str, str]]:
    """The network as one flat config of mmseg, and the classes in it that are not mmseg's, with their modules."""
    segmentor = in_stock_terms(network.segmentor)
    foreign = foreign_modules([segmentor, network.pipeline])
    if any(_is_ours(module) for module in foreign.values()):  # then all may be ours: they compute the same to the bit
        segmentor = network.segmentor
        foreign = foreign_modules([segmentor, network.pipeline])
    imports = sorted({'mmseg_camix' if _is_ours(module) else module for module in foreign.values()})
    meta = dict(classes=network.classes, palette=network.palette)
    config = dict(
        default_scope='mmseg', **(dict(custom_imports=dict(imports=imports)) if imports else {}), model=segmentor,
        test_pipeline=network.pipeline,
        # MMSegInferencer looks for the pipeline here.
        test_dataloader=dict(batch_size=1, num_workers=0, dataset=dict(
            type='BaseSegDataset', metainfo=meta, pipeline=network.pipeline)),
        visualizer=dict(type='SegLocalVisualizer', name='visualizer'))
    # A config file may have classes instead of their names.
    return tree_map(lambda leaf: type_name(leaf) if isinstance(leaf, type) else leaf, config), foreign


def _is_ours(module: str) -> bool:
    return module.split('.')[0] == 'mmseg_camix'


def write_mmseg(network: PlainNetwork, folder: Path) -> Report:
    """Write config and checkpoint, read them again, and compare the logits."""
    config, foreign = mmseg_config(network)
    text = format_config(config)
    atomic_write(folder / CONFIG, _header(network, foreign) + text)
    meta = dict(dataset_meta=dict(classes=network.classes, palette=network.palette), cfg=text,
                mmseg_camix_version=__version__, network=network.name, **network.origin)
    save_checkpoint(dict(meta=meta, state_dict=network.state), str(folder / WEIGHTS))
    written = parse_config((folder / CONFIG).read_text(), str(folder / CONFIG))
    reopened = built(written['model'], read_checkpoint(folder / WEIGHTS)['state_dict'])
    difference = logit_difference(network.build(), reopened, network.crop)
    texts = {leaf for leaf in tree_leaves([config['model'], config['test_pipeline']]) if isinstance(leaf, str)}
    return Report(difference, foreign, tuple(sorted(text for text in texts if '/' in text)))


def write_safetensors(network: PlainNetwork, folder: Path) -> None:
    """Write the weights as safetensors; classes, colours and the config are in its metadata, as text."""
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ExportError('safetensors is not installed: pip install safetensors') from error
    meta = dict(classes=network.classes, palette=network.palette)
    # Each tensor in its own memory: safetensors refuses shared ones.
    state = {name: value.detach().clone().contiguous() for name, value in network.state.items()}
    atomic_write(folder / SAFETENSORS, with_sorted_metadata(save(state, metadata=dict(
        format='pt', dataset_meta=json.dumps(meta), cfg=format_config(mmseg_config(network)[0])))))


def with_sorted_metadata(file: bytes) -> bytes:
    """A safetensors file with its metadata in the order of their names, so that equal networks are equal files."""
    length = int.from_bytes(file[:8], 'little')
    header = json.loads(file[8:8 + length])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, 'little') + text + file[8 + length:]


@torch.no_grad()
def logit_difference(first: torch.nn.Module, second: torch.nn.Module, size: tuple[int, int]) -> float:
    """Largest difference of the logits of two segmentors on a random image of this (height, width).

    Both draw the same random numbers, where a head draws in evaluation as that of SegNeXt does. A difference beyond
    rounding raises an ExportError.
    """
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    expected, logits = (_seeded_logits(model, image) for model in (first, second))
    difference = float((expected - logits).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ExportError(f'the exported network gives other logits: they differ by {difference:.3g}. '
                          'Please report this with the config')
    return difference


def _seeded_logits(model: torch.nn.Module, image: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return adapter.decode(model, adapter.extract(model, image))


def open_network(path: Path, config: str | None = None, choice: str = 'teacher',
                 trained_with_config: bool = True) -> PlainNetwork:
    """One network of a checkpoint, or of a folder that an export has written.

    Args:
        path: a checkpoint, a file of safetensors that was exported, or the folder of an export.
        config: file of its config, which is trusted; None takes the one in the checkpoint or in the folder, which is
            read as data.
        choice, trained_with_config: as in :func:`plain_network`.
    """
    file = _file_in(path) if path.is_dir() else path
    if not file.is_file():
        raise ExportError(f'no checkpoint at {file}')
    checkpoint = _read(file)
    if path.is_dir() and not config and (path / CONFIG).is_file():  # the files of weights have it, too
        text = (path / CONFIG).read_text(errors='replace')
        checkpoint = {**checkpoint, 'meta': {**mapping(checkpoint.get('meta')), 'cfg': text}}
    return plain_network(checkpoint, load_config(config) if config else None, choice, str(file), trained_with_config)


def is_export(folder: Path) -> bool:
    """Whether an export has written weights into a folder; the work dir of a training may have a config.py, too."""
    return any((folder / name).is_file() for name in (WEIGHTS, SAFETENSORS))


def _file_in(folder: Path) -> Path:
    if not is_export(folder):
        raise ExportError(f'{folder} was not written by mmseg-camix export with --formats mmseg or safetensors: it has '
                          f'no {WEIGHTS} or {SAFETENSORS}. Give the file of a checkpoint')
    return next(folder / name for name in (WEIGHTS, SAFETENSORS) if (folder / name).is_file())


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    checkpoint = read_checkpoint(path, 'cpu')
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{path} contains no dict but a {type(checkpoint).__name__}')
    return checkpoint


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError, safe_open
    check_header(path)
    try:
        with safe_open(path, 'pt') as file:
            state: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = dict(file.metadata() or {})
        dataset_meta = json.loads(meta.get('dataset_meta') or 'null')
    except (SafetensorError, ValueError, RecursionError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f'{path} was not opened: it is damaged ({type(error).__name__}: {error})') from error
    return dict(state_dict=state, meta=dict(cfg=meta.get('cfg'), dataset_meta=dataset_meta))


def _header(network: PlainNetwork, foreign: Mapping[str, str]) -> str:
    origin = network.origin
    came = f'the {network.name} of {origin["method"]}' if origin['method'] else 'a plain segmentor'
    lines = [f'{came[0].upper()}{came[1:]}, from {ascii(origin["checkpoint"])}, exported by mmseg_camix {__version__}.',
             '    from mmseg.apis import init_model', f"    model = init_model('{CONFIG}', '{WEIGHTS}')"]
    if foreign:
        lines.append(f'Not of mmseg, so that custom_imports must find them: {", ".join(sorted(foreign))}.')
    return without_templates(''.join(f'# {printable(line)}\n' for line in lines))  # names come from checkpoints
