"""Two domains in a few tiny files with the layout and encodings of the real sets, and configs for them."""

from pathlib import Path

from mmengine.config import Config

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from tests.datasets.tiny import blocks, write_16_bit_label, write_grey_label, write_image, write_palette_label
from tests.models import tiny

SIZE = (48, 64)  # height, width
TRAIN, VAL = 5, 3
QUIET = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)  # no validation


def make_world(root: Path) -> Path:
    """Write gta, synthia and cityscapes to `root`, in the layout of the miniature benchmark."""
    for i in range(TRAIN + VAL):
        write_image(root / f'gta/images/{i:05}.png', i, SIZE)
        write_palette_label(root / f'gta/labels/{i:05}.png', blocks(i, 34, SIZE))
        write_image(root / f'synthia/RGB/{i:07}.png', 20 + i, SIZE)
        write_16_bit_label(root / f'synthia/GT/LABELS/{i:07}.png', blocks(20 + i, 23, SIZE))
    for split, names in (('train', range(TRAIN)), ('val', range(TRAIN, TRAIN + VAL))):
        (root / f'gta/{split}.txt').write_text(''.join(f'{i:05}\n' for i in names))
    for split, count in (('train', TRAIN), ('val', VAL)):
        for i in range(count):
            name = f'{split}/ulm/ulm_{i:06}_000019'
            write_image(root / f'cityscapes/leftImg8bit/{name}_leftImg8bit.png', 40 + i, SIZE)
            write_grey_label(root / f'cityscapes/gtFine/{name}_gtFine_labelIds.png', blocks(40 + i, 34, SIZE))
    return root


def pipeline(labels: bool, train: bool = True) -> list[dict]:
    load = [dict(type='LoadImage'), *([dict(type='LoadIdLabels')] if labels else [])]
    crop = [dict(type='RecordedRandomCrop', crop_size=(32, 32)), dict(type='RandomFlip', prob=0.5)]
    return [*load, *(crop if train else []), dict(type='PackUDAInputs')]


def config(root: Path, work_dir: Path, method: str | None = 'DACS', segmentor: dict | None = None,
           max_iters: int = 3, val_interval: int = 100, **changes: object) -> Config:
    """Return the config of a training on this data; `changes` replace top-level entries."""
    segmentor = segmentor or tiny.small(num_classes=19)
    model = segmentor if method is None else dict(type=method, segmentor=segmentor)
    source = dict(type='GTADataset', data_root=f'{root}/gta', ann_file='train.txt', pipeline=pipeline(True))
    target = dict(type='RawCityscapesDataset', data_root=f'{root}/cityscapes',
                  data_prefix=dict(img_path='leftImg8bit/train'), pipeline=pipeline(False))
    val = dict(
        batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='RawCityscapesDataset', data_root=f'{root}/cityscapes', test_mode=True,
                     data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
                     pipeline=pipeline(True, False)))
    return Config(dict(dict(
        default_scope='mmseg', custom_imports=dict(imports=['mmseg_camix']), model=model, data_root=str(root),
        train_dataloader=dict(batch_size=2, num_workers=0, sampler=dict(type='PairedSampler'),
                              dataset=dict(type='PairedDataset', source=source, target=target)),
        val_dataloader=val, test_dataloader=val,
        val_evaluator=dict(type='SubsetIoUMetric'), test_evaluator=dict(type='SubsetIoUMetric'),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01)),
        param_scheduler=[dict(type='PolyLR', power=0.9, begin=0, end=6, by_epoch=False)],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=val_interval),
        val_cfg=dict(type='TeacherStudentValLoop'), test_cfg=dict(type='TeacherStudentTestLoop'),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                           checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=max_iters)),
        custom_hooks=[dict(type='UDAHook'), dict(type='RecordMetricsHook')],
        log_processor=dict(by_epoch=False), randomness=dict(seed=0), work_dir=str(work_dir), resume=False,
        load_from=None, experiment_name=f'{work_dir.parent.name}_{work_dir.name}_{max_iters}'), **changes))
