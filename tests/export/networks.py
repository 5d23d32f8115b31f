"""Trained networks of several kinds, as files that a training leaves, without the training."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmseg_camix.checkpoint import save_checkpoint
from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from tests.datasets.tiny import UNLABELLED
from tests.models import tiny
from tests.models.tiny import resnet
from tests.tools_runner import ROOT
from tests.world import config

DATA = Path('/somewhere/private/data')
SYNCHRONISED = dict(type='SyncBN', requires_grad=True)
SEGFORMER = """
_base_ = 'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py'
model = dict(
    backbone=dict(init_cfg=None, embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]),
    decode_head=dict(in_channels=[8, 8, 16, 16], channels=16),
    test_cfg=dict(_delete_=True, mode='whole'))
"""  # a config that inherits from one of mmseg


def deeplab() -> dict:
    """As DeepLabV2, of mmseg's parts: dilated classifiers in parallel; with all that only training needs."""
    head = dict(type='ASPPHead', in_channels=64, in_index=3, channels=16, dilations=(1, 6, 12), num_classes=19,
                norm_cfg=SYNCHRONISED, align_corners=True, loss_decode=dict(
                    type='CrossEntropyLoss', loss_weight=1.0, class_weight=f'{DATA}/weights.json'),
                sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100))
    backbone = resnet(SYNCHRONISED, pretrained='open-mmlab://resnet18_v1c')
    return tiny.encoder_decoder(backbone, head, auxiliary_head=tiny.fcn(32, in_index=2, num_classes=19))


def segformer(backbone: dict | None = None) -> dict:
    """MiT-B0 with SegFormer's head, of mmseg."""
    stock = dict(type='MixVisionTransformer', embed_dims=32, num_stages=4, num_layers=[2, 2, 2, 2],
                 num_heads=[1, 2, 5, 8], patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3),
                 drop_path_rate=0.1, init_cfg=dict(type='Pretrained', checkpoint=f'{DATA}/mit_b0.pth'))
    head = dict(type='SegformerHead', in_channels=[32, 64, 160, 256], in_index=[0, 1, 2, 3], channels=32,
                num_classes=19, norm_cfg=SYNCHRONISED, align_corners=False, loss_decode=tiny.CROSS_ENTROPY)
    return tiny.encoder_decoder(backbone or stock, head)


def resnet_mini() -> dict:
    """The network of the miniature benchmark."""
    return Config.fromfile(ROOT / 'configs/_base_/models/resnet_mini.py').model.to_dict()


def our_deeplab() -> dict:
    """DeepLabV2 with our backbone and our head."""
    return tiny.encoder_decoder(
        dict(type='DeepLabResNet', depth=18),
        dict(type='DeepLabV2Head', in_channels=512, in_index=3, num_classes=19, dilations=(6, 12)))


def hrda() -> dict:
    """HRDA with DAFormer's head at stride 4; its attention has a plain fusion."""
    head = dict(type='DAFormerHead', in_channels=[8, 16, 32, 64], embed_dims=8, channels=8, num_classes=19)
    backbone = resnet(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))
    return tiny.encoder_decoder(backbone, head, (64, 64), type='HRDAEncoderDecoder',
                                scale_attention=dict(fusion='plain'))


def without_weights(segmentor: dict) -> dict:
    """The same, but nothing is read when it is built."""
    cfg = copy.deepcopy(segmentor)
    for name in ('init_cfg', 'pretrained'):
        cfg['backbone'].pop(name, None)
    if isinstance(cfg['decode_head'], dict):
        cfg['decode_head']['loss_decode'] = tiny.CROSS_ENTROPY
    return cfg


def trained(folder: Path, segmentor: dict, method: str = 'DACS', meta: dict | None = None,
            **changes: object) -> tuple[Path, nn.Module]:
    """A checkpoint whose student and teacher differ in everything, and the model; tensors are random.

    The config in it, and beside it as a file, is the segmentor's own; the model is built without the files that this
    names.
    """
    model = tiny.method(method, without_weights(segmentor))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=generator))
    for name in model.networks:
        _settle(model.network(name))
    model.eval()
    cfg = config(DATA, folder, method=method, segmentor=segmentor, **changes)
    recorded = dict(iter=7, cfg=cfg.pretty_text, dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    folder.mkdir(parents=True, exist_ok=True)
    cfg.dump(str(folder / 'config.py'))
    path = folder / 'iter_7.pth'
    save_checkpoint(dict(meta=recorded if meta is None else meta, state_dict=model.state_dict()), str(path))
    return path, model


@torch.no_grad()
def labels_by_mmseg(segmentor: nn.Module, path: Path | str, pipeline: list = UNLABELLED) -> np.ndarray:
    """(H, W): the prediction of `test_step` on an image file."""
    sample, = segmentor.test_step(pseudo_collate([Compose(pipeline)(dict(img_path=str(path)))]))
    return sample.pred_sem_seg.data[0].numpy()


def noise(seed: int = 5, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """(H, W, 3) uint8; what `write_image` writes."""
    return np.random.RandomState(seed).randint(0, 256, (*size, 3), np.uint8)


@torch.no_grad()
def _settle(network: nn.Module) -> None:
    """Running statistics as of noise, and no class ahead on average: several are predicted."""
    images = [torch.from_numpy(noise(seed)).permute(2, 0, 1) for seed in (5, 6)]
    image = network.data_preprocessor(dict(inputs=images))['inputs']
    norms = [module for module in network.modules() if isinstance(module, _NormBase)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(image)
    for norm in norms:
        norm.momentum = 0.1
    head = network.eval().decode_head
    if hasattr(head, 'head'):  # HRDA's; all scales have the same
        head = head.head
    last = head.conv_seg if hasattr(head, 'conv_seg') else head.classifiers[0]
    last.bias -= network(image).mean((0, 2, 3))
