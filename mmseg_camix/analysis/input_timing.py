"""How many images a core makes ready per second: mmseg's pipeline, this project's, and with its cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ..cache import Recipe, build_cache
from ..datasets.fixed_part import again_and_again, length_of_fixed_part
from ..datasets.seeding import seeded
from ..preparation.conversion import FAMILIES, convert

# This project's transforms, and those of mmseg that do the same.
MMSEG = dict(LoadImage='LoadImageFromFile', LoadIdLabels='LoadAnnotations', RecordedRandomCrop='RandomCrop',
             PackUDAInputs='PackSegInputs')
VARIANTS = ('mmseg', 'no cache', 'cache')


@dataclass(frozen=True)
class InputTiming:
    """One pipeline.

    Args:
        title: which.
        seconds: of CPU per image, (rounds, variants).
        cache_bytes: of the cache, per image.
        variants: names of the columns.
    """

    title: str
    seconds: np.ndarray
    cache_bytes: float = 0.0
    variants: tuple[str, ...] = VARIANTS

    def row(self) -> str:
        """Of the table: images per second, and how many times mmseg's."""
        cells = [f'{1 / median(column):.1f}' for column in self.seconds.T]
        ratios = [median(self.seconds[:, 0] / column) for column in self.seconds.T[1:]]
        return f'| {self.title} | {" | ".join(cells)} | ' + ' | '.join(f'{ratio:.2f} x' for ratio in ratios) + ' |'

    @staticmethod
    def header(variants: tuple[str, ...] = VARIANTS) -> str:
        """Of the table."""
        names = [f'{variant}, images/s' for variant in variants] + list(variants[1:])
        return f'| | {" | ".join(names)} |\n|---|{"---:|" * len(names)}'


def time_input(title: str, config: dict, family: str, rounds: int) -> InputTiming:
    """Time a dataset's config of this project in three ways, after checking that all give the same pixels."""
    root = Path(config['data_root'])
    plain = DATASETS.build(config)
    infos = [plain.get_data_info(index) for index in range(len(plain))]
    recipe = Recipe.of(config['pipeline'][:length_of_fixed_part(config['pipeline'])], infos[0])
    report = build_cache(infos, recipe, str(root), root / 'cache')
    if report.failures:
        raise RuntimeError(report.failures[0])
    cached = DATASETS.build(dict(config, cache='cache'))
    reference = as_in_mmseg(config, family)
    datasets = (reference, plain, cached)
    refuse_other_pixels(datasets)
    samples = [lambda index, dataset=dataset: dataset[index] for dataset in datasets]
    return InputTiming(title, interleaved(samples, len(plain), rounds), report.size / len(plain))


def time_crops(title: str, config: dict, tries: int, rounds: int) -> InputTiming:
    """Time several crops of each image, as rare-class sampling draws them: anew, kept, and from the cache."""
    plain, cached = (DATASETS.build(dict(config, cache=cache)) for cache in ('', 'cache'))

    def anew(index: int) -> None:
        for _ in range(tries):
            plain[index]

    def kept(dataset: BaseSegDataset) -> Callable[[int], None]:
        def crops(index: int) -> None:
            for _, _ in zip(range(tries), again_and_again(dataset, index)):
                pass
        return crops
    return InputTiming(title, interleaved([anew, kept(plain), kept(cached)], len(plain), rounds))


def as_in_mmseg(config: dict, family: str) -> BaseSegDataset:
    """The same data by mmseg's own reader and transforms; labels are converted for it to train ids."""
    pipeline = [dict(transform, type=MMSEG.get(transform['type'], transform['type']))
                for transform in config['pipeline']]
    reader = DATASETS.get(config['type'])
    prefix, suffix = config.get('data_prefix', reader.PREFIX), FAMILIES[family].train_suffix
    if 'seg_map_path' in prefix:
        convert(family, Path(config['data_root']))
    return BaseSegDataset(data_root=config['data_root'], data_prefix=dict(prefix), img_suffix=reader.IMG_SUFFIX,
                          seg_map_suffix=suffix, metainfo=dict(classes=reader.METAINFO['classes']), pipeline=pipeline)


def refuse_other_pixels(datasets: tuple[BaseSegDataset, ...], seeds: int = 3) -> None:
    """Compare images and labels of all variants, with the same draws."""
    for index in range(len(datasets[0])):
        for seed in range(seeds):
            items = []
            for dataset in datasets:
                with seeded(seed, index):
                    items.append(dataset[index])
            for name, item in zip(VARIANTS[1:], items[1:]):
                same = torch.equal(item['inputs'], items[0]['inputs'])
                if 'gt_sem_seg' in items[0]['data_samples']:
                    same &= torch.equal(*(one['data_samples'].gt_sem_seg.data for one in (item, items[0])))
                if not same:
                    raise AssertionError(f'{items[0]["data_samples"].img_path}: other pixels than mmseg gives: {name}')


def interleaved(functions: list[Callable[[int], object]], images: int, rounds: int) -> np.ndarray:
    """CPU seconds per image, (rounds, functions): each round runs all of them, on the same draws.

    CPU time and not the clock's: other programs on the machine then matter little.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    seconds = np.zeros((rounds + 1, len(functions)))
    for row, number in zip(seconds, range(rounds + 1)):
        for column, function in enumerate(functions):
            with seeded(number):
                start = time.process_time()
                for index in range(images):
                    function(index)
                row[column] = (time.process_time() - start) / images
    return seconds[1:]  # the first one warms up
