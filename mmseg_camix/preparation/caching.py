"""Which caches the datasets of a training need, and making them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mmseg.registry import DATASETS

from ..cache import BuildReport, Recipe, build_cache, verify_cache
from ..datasets.base import RawSegDataset
from ..datasets.fixed_part import length_of_fixed_part
from ..engine.config import load_config
from ..type_names import type_name
from .configs import dataset_configs, reader_of


@dataclass
class NeededCache:
    """A cache that serves some datasets of a training.

    Args:
        root: their data root.
        option: their option `cache`: the folder of caches below the root, unless absolute.
        recipe: how they load and resize.
        infos: the descriptions of all their samples.
        places: where the datasets stand in the config, 'train_dataloader.dataset.source'.
    """

    root: str
    option: str
    recipe: Recipe
    infos: list[dict] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


def caches_of(config: str, options: dict | None = None) -> tuple[list[NeededCache], list[str]]:
    """The caches that the training of a config needs, and the places of datasets that have no such option."""
    needed: dict[tuple[str, str, str], NeededCache] = {}
    others = []
    for place, node in dataset_configs(load_config(config, options).train_dataloader.dataset):
        place = '.'.join(filter(None, ('train_dataloader.dataset', place)))
        reader = reader_of(node)
        pipeline = [dict(transform) for transform in node.get('pipeline', ())]
        fixed = pipeline[:length_of_fixed_part(pipeline)]
        if reader is None or not issubclass(reader, RawSegDataset) or not fixed:
            others += [f'{place} ({type_name(node)})'] if pipeline else []
            continue
        dataset = DATASETS.build(dict(node, cache=''))
        root, option = dataset.data_root, node.get('cache') or 'cache'
        for recipe, infos in recipes_of([(dataset, fixed)]):
            cache = needed.setdefault((root, option, recipe.name), NeededCache(root, option, recipe))
            cache.infos += infos
            cache.places.append(place)
    return list(needed.values()), others


def recipes_of(readers: Iterable[tuple[RawSegDataset, list[dict]]]) -> list[tuple[Recipe, list[dict]]]:
    """Each way of loading, with the samples of all datasets that load so.

    Args:
        readers: datasets, each with the part of its pipeline that is cached.
    """
    found: dict[str, tuple[Recipe, list[dict]]] = {}
    for dataset, pipeline in readers:
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        recipe = Recipe.of(pipeline, infos[0])
        _, listed = found.setdefault(recipe.name, (recipe, []))
        listed += infos
    return list(found.values())


def fill_cache(infos: list[dict], recipe: Recipe, root: str, out: str, jobs: int, verify: bool) -> BuildReport:
    """`build_cache`; with `verify` all pixels are compared with their digests, and damaged entries made anew."""
    report = build_cache(infos, recipe, root, out, jobs)
    if verify and not report.failures and (damaged := verify_cache(report, jobs)):
        print(f'{len(damaged)} files of the cache are damaged, and made anew: {damaged[0]}, ...')
        report = build_cache(infos, recipe, root, out, jobs, again=damaged)
    return report
