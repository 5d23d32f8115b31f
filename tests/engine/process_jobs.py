"""What the pair of processes does for `test_processes.py`; each function runs in both."""

import copy
from itertools import product
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch import Tensor, nn

from mmseg_camix.datasets import PairedSampler
from mmseg_camix.engine.processes import prepare_launch
from mmseg_camix.models.processes import Processes
from tests.gloo import WORLD
from tests.models import dsp_tiny, tiny
from tests.world import config, pipeline

SIZE, STEPS = 16, 3
HEAD = dict(norm_cfg=dict(type='GN', num_groups=2), dropout_ratio=0)
NORMLESS = dict(type='Patchwork', norm='GN', dropout=0.0)
LOUD = dict(jitter_probability=0.5, blur_probability=0.5)
ALIGN = dict(prior=list(range(1, tiny.CLASSES + 1)), momentum=0.5)
# Name -> (method, its arguments). Thresholds are such that images differ in how much of them counts.
CASES: dict[str, tuple[str, dict]] = {
    'DACS': ('DACS', dict(pseudo_labels=dict(threshold=0.26))),
    'DACS, paper': ('DACS', dict(pseudo_labels=dict(threshold=0.26, per='image', scope='view'))),
    'DACS, aligned, valid pixels': ('DACS', dict(
        pseudo_labels=dict(threshold=0.26, align=ALIGN), objectives=dict(mixed=dict(normalise='valid')))),
    'CAMix': ('CAMix', dict(pseudo_labels=dict(
        threshold=0.26, significance=dict(passes=2, noise=1.0, clamp=2.0, beta=0.95, bound='classes',
                                          form='official')))),
    'DSP': ('DSP', dict(objectives=dict(align_patch=dict(cells=40), align_global=dict(cells=40)))),
    'DSP, official': ('DSP', dict(objectives={name: dict(samples='images', weight=0.1)
                                              for name in ('align_patch', 'align_global')},
                                  pseudo_labels=dict(weighted=True, threshold=0.26))),
    'RCCR': ('RCCR', dict(objectives=dict(contrast=dict(confidence=0.26, weight=1.0)))),
    'RCCR, official': ('RCCR', dict(masks=dict(square=dict(per='batch')), objectives=dict(
        contrast=dict(confidence=0.26, weight=1.0, pool='batch', bank=2, normalise='overlap')))),
    'DAFormer': ('DAFormer', dict(pseudo_labels=dict(threshold=0.26, ignore_top=1, ignore_bottom=2), objectives=dict(
        features=dict(things=None, min_share=0.3, weight=1.0)))),
    'MIC': ('MIC', dict(masks=dict(blocks=dict(block=3)), pseudo_labels=dict(threshold=0.26))),
    'HRDA': ('DACS', dict(segmentor=dict(type='HRDAEncoderDecoder'), pseudo_labels=dict(threshold=0.26))),
}


def normless(**changes: object) -> dict:
    """A segmentor without batch statistics and dropout."""
    return tiny.encoder_decoder(NORMLESS, tiny.fcn(4, 4, **HEAD), (SIZE, SIZE), **changes)


def model_of(name: str, **arguments: object) -> nn.Module:
    """Teacher and student with weights of their own, so that they are not confused."""
    kind, given = CASES[name]
    segmentor = normless(**given.get('segmentor', {}))
    model = tiny.method(kind, augment=LOUD, **{**given, **arguments, 'segmentor': segmentor})
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for p in [*model.student.parameters(), *model.teacher.parameters()]:
            p.copy_(torch.randn(p.shape, generator=generator) / 2)
    return model


def batch_of(name: str, count: int, seed: int) -> dict:
    if CASES[name][0] != 'DSP':
        return tiny.batch(SIZE, count, seed)
    return dsp_tiny.batch_of(seed, SIZE, count)


def own_part(data: dict, rank: int) -> dict:
    """As `PairedSampler` deals images out."""
    return {branch: {key: values[rank::WORLD] for key, values in content.items()} for branch, content in data.items()}


def train(model: nn.Module, name: str, count: int, rank: int | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Some steps; parameter -> gradient of the last one, with the parameters after it."""
    bare = model.module if rank is not None else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for index in range(STEPS):
        data = batch_of(name, count, index)
        bare.set_progress(40 + index, 100, seed)
        data = bare.data_preprocessor(data if rank is None else own_part(data, rank), True)
        total, _ = bare.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        bare.update_teacher()
    results = {f'grad {key}': p.grad.clone() for key, p in bare.named_parameters() if p.requires_grad}
    return {**results, **{key: value.clone() for key, value in bare.state_dict().items()}}


def gradients(rank: int) -> dict:
    """Case -> mode -> gradients and state of the last step: one image a process, and two."""
    results = {}
    for name in CASES:
        results[name] = {}
        for each in (1, 2):
            model = MMDistributedDataParallel(model_of(name, global_batch=True))
            results[name][each] = train(model, name, each * WORLD, rank)
        apart = MMDistributedDataParallel(model_of(name))
        results[name]['apart'] = train(apart, name, WORLD, rank, seed=rank)
    return results


def accelerated(rank: int) -> dict:
    """DACS with options of speed, in DDP."""
    options = dict(checkpointing=['backbone', 'decode_head'], channels_last=True, compile='eager')
    return train(MMDistributedDataParallel(model_of('DACS', global_batch=True, acceleration=options)), 'DACS', 2, rank)


def collectives(rank: int) -> dict:
    processes = Processes.of_training()
    rows = torch.arange(4.0).view(2, 2) + 10 * rank
    live = rows.clone().requires_grad_()
    (processes.gather_live(live).square().sum()).backward()
    return dict(rank=processes.rank, average=processes.average(torch.tensor([1.0, 2.0]) * (rank + 1)),
                count=processes.average(torch.tensor(rank + 2)), rows=processes.gather(rows),
                long=processes.gather(torch.tensor([rank, rank + 2])), grad=live.grad, untouched=rows)


def no_unused_parameters(rank: int) -> dict:
    """Two steps of every method in its default form, and of RCCR before its contrast begins."""
    results = {}
    cases = {kind: {} for kind in ('SourceOnly', 'PseudoLabelling', 'MeanTeacher', 'NaiveClassMix', 'CutMix', 'CowMix',
                                   'DACS', 'iDACS', 'CAMix', 'DSP', 'RCCR', 'DAFormer', 'iDAFormer', 'MIC')}
    cases['RCCR later'] = dict(objectives=dict(contrast=dict(begin=1)))
    small = dict(ignore_top=1, ignore_bottom=2)
    for (name, arguments), mode in product(cases.items(), ('summed', 'each')):
        kind = name.split()[0]
        if kind.endswith('DAFormer'):
            arguments = dict(pseudo_labels=small, objectives=dict(features=dict(things=None)))
        model = MMDistributedDataParallel(tiny.method(kind, tiny.small(), seed=3, backward=mode, **arguments))
        bare, data = model.module, dsp_tiny.batch_of(rank, 32, 2)
        missing = []
        for index in range(2):
            bare.set_progress(index, 100, rank)
            batch = bare.data_preprocessor({b: copy.deepcopy(data[b]) for b in bare.branches}, True)
            total, _ = bare.parse_losses(model(**batch, mode='loss'))
            model.zero_grad()
            total.backward()
            missing += [key for key, p in bare.named_parameters() if p.requires_grad and p.grad is None]
        results[f'{name}, {mode}'] = missing
    return results


def each_view(rank: int) -> dict:
    """Case -> gradients and state of the last step, with a backward pass for each view."""
    return {name: train(MMDistributedDataParallel(model_of(name, global_batch=True, backward='each')), name, 2 * WORLD,
                        rank) for name in CASES}


def accumulated(rank: int | None) -> dict[str, dict[str, Tensor]]:
    """Mode -> state after mmengine's own `train_step`, with clipped gradients of two iterations."""
    results = {}
    for mode in ('summed', 'each'):
        bare = model_of('MIC', global_batch=True, backward=mode)
        model = bare if rank is None else MMDistributedDataParallel(bare)
        wrapper = OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1),
                               accumulative_counts=2, clip_grad=dict(max_norm=0.1))
        wrapper.initialize_count_status(model, 0, 4)
        for index in range(4):
            bare.set_progress(index, 100)
            data = batch_of('MIC', WORLD, index)
            model.train_step(data if rank is None else own_part(data, rank), wrapper)
        results[mode] = {key: value.clone() for key, value in bare.state_dict().items()}
    return results


def trainings(rank: int, world: Path, folder: Path) -> dict:
    """Whole trainings through mmengine's Runner: RCCR at once and resumed half way, DACS with running statistics."""
    results = {}
    for name, method, changes in (('whole', 'RCCR', {}),
                                  ('resumed', 'RCCR', dict(resume=True, load_from=str(folder / 'whole/iter_2.pth'))),
                                  ('running', 'DACS', dict(teacher=dict(norm='running')))):
        segmentor = tiny.small(num_classes=19, dropout=0.0)
        cfg = config(world, folder / name, method, segmentor, max_iters=4, val_interval=2)
        cfg.train_dataloader.batch_size = 1
        cfg.default_hooks.checkpoint.interval = 2
        cfg.model.update(teacher=changes.pop('teacher', {}))
        cfg.update(changes)
        prepare_launch(cfg, 'pytorch')
        runner = Runner.from_cfg(cfg)
        runner.train()
        results[name] = {key: value.clone() for key, value in bare(runner).state_dict().items()}
    results['unused'] = runner.model.find_unused_parameters, runner.model.broadcast_buffers
    return results


def bare(runner: Runner) -> nn.Module:
    return runner.model.module


def items(rank: int, world: Path) -> dict[str, list]:
    """What the first items of each process are: images, and the patches and classes that samplers draw."""
    source = dict(type='GTADataset', data_root=f'{world}/gta', ann_file='train.txt', pipeline=pipeline(True))
    target = dict(type='RawCityscapesDataset', data_root=f'{world}/cityscapes',
                  data_prefix=dict(img_path='leftImg8bit/train'), pipeline=pipeline(False))
    dataset = DATASETS.build(dict(
        type='PairedDataset', source=dict(type='RareClassDataset', dataset=source, min_pixels=10), target=target,
        rare=dict(type='LongTailDataset', dataset=source, classes=5, k=2)))
    sampler = iter(PairedSampler(dataset, seed=0))
    drawn = [(key, dataset[key]) for key in (next(sampler) for _ in range(4))]

    def samples(branch: str) -> list:
        return [item[branch]['data_samples'] for _, item in drawn]

    return dict(
        positions=[key.position for key, _ in drawn],
        source=[(sample.rare_class, sample.crop_box) for sample in samples('source')],
        rare=[(sample.rare_images, sample.crop_box) for sample in samples('rare')])
