"""Each config of the real benchmarks trains three iterations on the miniature data, on a CPU.

Only `data_root`, crop, batch size and length are changed. Two configs keep their network; the others use the smallest
of its family (MiT-B0, ResNet-18), because the full ones take a gigabyte and seconds each to build.
"""

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import MODELS

from drawn_streets.writer import write_benchmark
from mmseg_camix.engine.config import load_config
from mmseg_camix.models import UDASegmentor
from tests.test_configs import name
from tests.test_real_configs import REAL, offline
from tests.tools_runner import ROOT, call

CROP = (64, 64)
ITERATIONS = 3
FULL = ('camix/gta2cs_daformer', 'dacs/gta2cs_deeplabv2')
VIT = dict(pretrained=False, arguments=dict(depth=1, embed_dim=24, num_heads=2, img_size=56))
# Type of an encoder -> what makes it small, and its channels.
SMALLEST = dict(MiT=(dict(variant='b0'), [32, 64, 160, 256]), DeepLabResNet=(dict(depth=18, style='pytorch'), 512),
                TimmViT=(VIT, [24] * 4), ResNetV1c=(dict(depth=18), 512))
VFM = sorted((ROOT / 'configs/vfm').glob('gta2cs*.py'))
TWO_SCALES = [path for path in sorted((ROOT / 'configs').glob('*/*2cs_*.py')) if 'models/hrda_' in path.read_text()]
SOURCE_FREE = sorted((ROOT / 'configs/source_free').glob('gta2cs*.py'))
FAST = ('vfm/gta2cs_dinov2_l', 'mic/gta2cs_hrda', 'hrda/gta2cs_deeplabv2',
        'daformer/gta2cs_daformer_inverse', 'dacs/synthia2cs_deeplabv2')


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """A few images of the miniature benchmark, with what is counted beforehand."""
    root = tmp_path_factory.mktemp('real')
    write_benchmark(root, seed=1, train=13, val=1)  # enough to contain all of DSP's rare classes
    for source in ('gta', 'synthia'):
        assert call('dataset/class_stats.py', source, root / source, '--jobs', 1) == 0
        cfg = load_config(str(ROOT / f'configs/camix/{source}2cs_deeplabv2.py'), dict(data_root=str(root)))
        cfg.dump(str(root / f'{source}.py'))
        out = root / 'priors' / f'{source}.npz'
        assert call('dataset/build_spatial_prior.py', root / f'{source}.py', '--out', out, '--workers', 0) == 0
    return root


def shrink_crops(node):
    if isinstance(node, dict):
        if 'crop_size' in node:
            node['crop_size'] = CROP
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for value in node:
            shrink_crops(value)


def small_training(path, root, work_dir):
    """Three iterations with small crops in one process, without evaluation and checkpoints."""
    cfg = load_config(str(path), dict(data_root=str(root)), str(work_dir))
    shrink_crops(cfg._cfg_dict)
    segmentor = offline(cfg.model.segmentor)
    segmentor.data_preprocessor.size = CROP
    if name(path) not in FULL:
        changes, segmentor.decode_head.in_channels = SMALLEST[segmentor.backbone.type]
        segmentor.backbone.update(changes)
    if segmentor.type == 'HRDAEncoderDecoder':
        segmentor.detail_size = (CROP[0] // 2, CROP[1] // 2)
    if (distillation := (cfg.model.get('objectives') or {}).get('distillation')) is not None:
        distillation.encoder.update(VIT)
    if 'ignore_top' in (cfg.model.get('pseudo_labels') or {}) or 'DAFormer' in cfg.model.type:
        cfg.model.pseudo_labels = dict(cfg.model.get('pseudo_labels') or {}, ignore_top=2, ignore_bottom=8)
    if path in SOURCE_FREE:
        torch.save(dict(state_dict=MODELS.build(segmentor).state_dict()), root / 'trained.pth')
        cfg.load_from = str(root / 'trained.pth')
    cfg.experiment_name = f'{work_dir.parent.name}_{path.parent.name}_{path.stem}'
    cfg.train_cfg.max_iters = ITERATIONS
    cfg.train_dataloader.update(batch_size=2 if path in SOURCE_FREE else 1, num_workers=0, persistent_workers=False)
    for part in ('cfg', 'dataloader', 'evaluator'):
        cfg[f'val_{part}'] = cfg[f'test_{part}'] = None
    cfg.default_hooks.checkpoint = None
    return cfg


def train(runner):
    """Train: all parameters stay finite, the student moves, and the teacher makes as many steps."""
    model = runner.model
    before = [p.clone() for p in model.student.decode_head.parameters()]
    runner.train()
    assert runner.iter == ITERATIONS
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(before, model.student.decode_head.parameters()))
    assert model.teacher is None or model.teacher.steps_made == ITERATIONS


@pytest.mark.parametrize('path', [
    pytest.param(path, id=name(path), marks=[] if name(path) in FAST else pytest.mark.slow)
    for path in REAL + VFM + TWO_SCALES + SOURCE_FREE])
def test_three_iterations(path, prepared, tmp_path):
    runner = Runner.from_cfg(small_training(path, prepared, tmp_path / 'run'))
    assert isinstance(runner.model, UDASegmentor)
    train(runner)
