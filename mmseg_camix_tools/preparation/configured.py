"""The datasets of a config: their pipelines determine the prior and the caches to build."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.registry import DATASETS

from mmseg_camix.cache import BuildReport, Recipe, build_cache, verify_cache
from mmseg_camix.datasets.base import RawSegDataset
from mmseg_camix.datasets.defects import DEFECTS_FILE
from mmseg_camix.datasets.fixed_part import length_of_fixed_part
from mmseg_camix.engine.config import load_config
from mmseg_camix.type_names import type_name

from .layouts import Layout


@dataclass
class NeededCache:
    """A cache for some datasets of a training."""

    root: str  # their data root
    option: str  # their option `cache`: the folder of caches below the root, unless absolute
    recipe: Recipe  # how they load and resize
    infos: list[dict] = field(default_factory=list)  # the descriptions of all their samples
    # where the datasets are in the config, 'train_dataloader.dataset.source'
    places: list[str] = field(default_factory=list)


def needed_caches(config: str, options: dict | None = None) -> tuple[list[NeededCache], list[str]]:
    """The caches for the training of a config, and the places of datasets without the option `cache`."""
    needed: dict[tuple[str, str, str], NeededCache] = {}
    others = []
    for place, node in dataset_configs(load_config(config, options).train_dataloader.dataset):
        place = '.'.join(filter(None, ('train_dataloader.dataset', place)))
        reader, pipeline = reader_of(node), fixed_pipeline(node)
        if reader is None or not issubclass(reader, RawSegDataset) or not pipeline:
            others += [f'{place} ({type_name(node)})'] if node.get('pipeline') else []
            continue
        dataset = DATASETS.build(dict(node, cache=''))
        root, option = dataset.data_root, node.get('cache') or 'cache'
        for recipe, infos in group_by_recipe([(dataset, pipeline)]):
            cache = needed.setdefault((root, option, recipe.name), NeededCache(root, option, recipe))
            cache.infos += infos
            cache.places.append(place)
    return list(needed.values()), others


def family_configs(config: str, layout: Layout) -> list[dict]:
    """The configs of the datasets that read a family in the training of a config."""
    nodes = [node for _, node in dataset_configs(load_config(config).train_dataloader.dataset)]
    matching = [node for node in nodes if reader_of(node) is layout.reader]
    if not matching:
        names = sorted({type_name(node) for node in nodes})
        raise ValueError(f'{config}: no dataset of its training is a {layout.reader.__name__} (there are: '
                         f'{", ".join(names)}); give --config one that trains on {layout.family}')
    return matching


def build_reader(node: dict, root: Path, out: Path) -> tuple[RawSegDataset, list[dict]]:
    """A dataset that reads `root` without the listed defects, and the fixed part of its pipeline."""
    return DATASETS.build(dict(node, data_root=str(root), skip=str(out / DEFECTS_FILE), cache='')), fixed_pipeline(node)


def fixed_pipeline(node: dict) -> list[dict]:
    """The transforms of a dataset's config that load and resize."""
    pipeline = [dict(transform) for transform in node.get('pipeline', ())]
    return pipeline[:length_of_fixed_part(pipeline)]


def dataset_configs(value: Any, place: str = '') -> Iterator[tuple[str, dict]]:
    """Yield all configs of datasets within a dataset's config, each with the keys that lead to it: 'source.dataset'."""
    if isinstance(value, dict):
        if 'type' in value:
            yield place, value
        parts = ((key, part) for key, part in value.items() if key != 'pipeline')
    else:
        parts = enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, part in parts:
        yield from dataset_configs(part, f'{place}.{key}' if place else str(key))


def reader_of(node: dict) -> type | None:
    """The class of a dataset; None if it is not registered."""
    kind = node['type']
    return DATASETS.get(kind) if isinstance(kind, str) else kind


def group_by_recipe(readers: Iterable[tuple[RawSegDataset, list[dict]]]) -> list[tuple[Recipe, list[dict]]]:
    """Each way of loading with its samples, from datasets given with the fixed part of their pipelines."""
    groups: dict[str, tuple[Recipe, list[dict]]] = {}
    for dataset, pipeline in readers:
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        recipe = Recipe.of(pipeline, infos[0])
        groups.setdefault(recipe.name, (recipe, []))[1].extend(infos)
    return list(groups.values())


def fill_cache(infos: list[dict], recipe: Recipe, root: str, out: str | Path, jobs: int, verify: bool) -> BuildReport:
    """Build a cache; with `verify` compare all pixels with their digests, and rebuild damaged entries."""
    report = build_cache(infos, recipe, root, out, jobs)
    if verify and not report.failures and (damaged := verify_cache(report, jobs)):
        print(f'{len(damaged)} damaged files of the cache are rebuilt: {damaged[0]}, ...')
        report = build_cache(infos, recipe, root, out, jobs, rebuild=damaged)
    return report
