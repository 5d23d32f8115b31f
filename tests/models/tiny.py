"""Segmentors of all kinds, small enough for tests, and batches for them."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmseg_camix.datasets.encodings import CLASSES as NAMES
from mmseg_camix.models.building import TableError
from mmseg_camix.models.step import Step

CLASSES = 5
BN = dict(type='BN', requires_grad=True)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
OHEM = dict(type='OhemCrossEntropy', thres=0.9, min_kept=100, loss_weight=1.0)  # as PIDNet and DDRNet have it
CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
NO_AUGMENTATION = dict(jitter_probability=0.0, blur_probability=0.0)


@MODELS.register_module()
class PassThrough(BaseModule):
    """A backbone that gives the image itself."""

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (image,)


@MODELS.register_module()
class Patchwork(BaseModule):
    """A backbone with normalisation and dropout, at stride 2."""

    def __init__(self, channels: int = 4, norm_eval: bool = False, dropout: float = 0.5, norm: str = 'BN') -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, 2, 1)
        self.norm = nn.BatchNorm2d(channels) if norm == 'BN' else nn.GroupNorm(2, channels)
        self.dropout, self.norm_eval = nn.Dropout(dropout), norm_eval

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.dropout(self.norm(self.conv(image)).relu()),)

    def train(self, mode: bool = True) -> 'Patchwork':
        super().train(mode)
        if self.norm_eval:
            self.norm.eval()
        return self


@MODELS.register_module()
class TwoStreams(BaseModule):
    """As DDRNet and PIDNet do: several maps in training, one in testing."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, c, 3, 4, 1) for c in channels)
        self.main = len(channels) // 2 if len(channels) > 2 else 1

    def forward(self, image: Tensor) -> tuple[Tensor, ...] | Tensor:
        if self.training:
            return tuple(conv(image) for conv in self.convs)
        return self.convs[self.main](image)


def preprocessor(crop: tuple[int, int] | None = (32, 32), **changes: object) -> dict:
    return dict(dict(type='SegDataPreProcessor', mean=list(MEAN), std=list(STD), bgr_to_rgb=True, pad_val=0,
                     seg_pad_val=255, size=crop), **changes)


def fcn(in_channels: int, channels: int = 8, **changes: object) -> dict:
    return dict(dict(type='FCNHead', in_channels=in_channels, in_index=-1, channels=channels, num_convs=1,
                     concat_input=False, dropout_ratio=0.1, num_classes=CLASSES, norm_cfg=BN,
                     align_corners=False, loss_decode=CROSS_ENTROPY), **changes)


def encoder_decoder(backbone: dict, head: dict | list, crop: tuple[int, int] | None = (32, 32),
                    **others: object) -> dict:
    return dict(dict(type='EncoderDecoder', data_preprocessor=preprocessor(crop), backbone=backbone,
                     decode_head=head, train_cfg=dict(), test_cfg=dict(mode='whole')), **others)


def per_pixel(crop: tuple[int, int] | None = (32, 32), **head: object) -> dict:
    """A linear classifier of each pixel's colour: logits at full resolution, nothing random."""
    return encoder_decoder(dict(type='PassThrough'), linear_head(**head), crop)


def linear_head(**changes: object) -> dict:
    return fcn(3, 3, num_convs=0, dropout_ratio=0, **changes)


def small(norm_eval: bool = False, crop: tuple[int, int] | None = (32, 32), dropout: float = 0.5,
          num_classes: int = CLASSES) -> dict:
    """Normalisation, dropout and an auxiliary head, with next to no cost."""
    head = fcn(4, 4, dropout_ratio=dropout, num_classes=num_classes)
    auxiliary = dict(head, loss_decode=dict(CROSS_ENTROPY, loss_weight=0.4))
    return encoder_decoder(dict(type='Patchwork', norm_eval=norm_eval, dropout=dropout), head, crop,
                           auxiliary_head=auxiliary)


def resnet(norm: dict = BN, **changes: object) -> dict:
    """mmseg's ResNet-18 at output stride 8, narrow."""
    return dict(dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, num_stages=4, norm_cfg=norm,
                     out_indices=(0, 1, 2, 3), strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)), **changes)


def _two_streams(head: dict, channels: tuple[int, ...], losses: list) -> dict:
    return encoder_decoder(dict(type='TwoStreams', channels=channels), dict(
        head, num_classes=CLASSES, norm_cfg=BN, loss_decode=losses, align_corners=True))


def _knet() -> dict:
    updator = dict(type='KernelUpdator', in_channels=8, feat_channels=8, out_channels=8, norm_cfg=dict(type='LN'),
                   act_cfg=dict(type='ReLU', inplace=True))
    update = dict(type='KernelUpdateHead', num_classes=CLASSES, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1,
                  feedforward_channels=16, in_channels=8, out_channels=8, dropout=0.0, conv_kernel_size=1,
                  feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None), kernel_updator_cfg=updator)
    return dict(type='IterativeDecodeHead', num_stages=1, kernel_generate_head=fcn(64), kernel_update_head=[update])


def _mit() -> dict:
    return dict(type='MixVisionTransformer', embed_dims=8, num_stages=4, num_layers=[1, 1, 1, 1],
                num_heads=[1, 1, 1, 1], patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1],
                out_indices=(0, 1, 2, 3), mlp_ratio=2)


def segmentors() -> dict[str, dict]:
    """Name -> config, one of each kind that mmseg has."""
    small_resnet = [8, 16, 32, 64]
    fpn = dict(type='FPN', in_channels=small_resnet, out_channels=8, num_outs=4)
    fpn_head = dict(type='FPNHead', in_channels=[8] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 8, 8],
                    channels=8, num_classes=CLASSES, norm_cfg=BN, align_corners=False, loss_decode=CROSS_ENTROPY)
    ocr = dict(type='OCRHead', in_channels=64, in_index=3, channels=8, ocr_channels=8, num_classes=CLASSES,
               norm_cfg=BN, align_corners=False, loss_decode=CROSS_ENTROPY)
    segformer = dict(type='SegformerHead', in_channels=[8] * 4, in_index=[0, 1, 2, 3], channels=8,
                     num_classes=CLASSES, norm_cfg=BN, align_corners=False, loss_decode=CROSS_ENTROPY)
    enc = dict(type='EncHead', in_channels=small_resnet[1:], in_index=(1, 2, 3), channels=8, num_codes=4,
               num_classes=CLASSES, norm_cfg=BN, align_corners=False, loss_decode=CROSS_ENTROPY,
               loss_se_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.2))
    return {
        'FCN with an auxiliary head': encoder_decoder(resnet(), fcn(64), auxiliary_head=[fcn(32, in_index=2)]),
        'a neck': encoder_decoder(resnet(), fpn_head, neck=fpn),
        'a cascade': encoder_decoder(resnet(), [fcn(64), ocr], type='CascadeEncoderDecoder', num_stages=2),
        'SegFormer': encoder_decoder(_mit(), segformer),
        'K-Net': encoder_decoder(resnet(), _knet()),
        'EncHead': encoder_decoder(resnet(), enc),
        'DDRHead': _two_streams(dict(type='DDRHead', in_channels=8, channels=8), (4, 8), [OHEM] * 2),
        'PIDHead': _two_streams(
            dict(type='PIDHead', in_channels=8, channels=8), (4, 8, 4),
            [CROSS_ENTROPY, OHEM, dict(type='BoundaryLoss', loss_weight=20.0), OHEM]),
    }


def build(cfg: dict, seed: int = 0) -> nn.Module:
    """The model in train mode."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(cfg))  # which is what a Runner gives
    return model.train()


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in eval mode, with weights that differ between student and teacher."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    return model.eval()


def method(kind: str, segmentor: dict | None = None, seed: int = 0, iteration: int = 0,
           classes: tuple[str, ...] | None = None, **arguments: object) -> nn.Module:
    """A method around a segmentor, prepared as the hook does it: with the classes and the training's progress."""
    model = build(dict(type=kind, segmentor=small() if segmentor is None else segmentor, **arguments), seed)
    model.prepare(dict(classes=classes or NAMES[:model.num_classes]))
    model.set_progress(iteration, 100)
    return model


def rejects(match: str, error: type | tuple = TableError, kind: str = 'DACS', segmentor: dict | None = None,
            **arguments: object) -> None:
    """Building a method with these arguments fails with a message that matches."""
    with pytest.raises(error, match=match):
        method(kind, per_pixel() if segmentor is None else segmentor, **arguments)


def inputs_of(module: nn.Module) -> list[Tensor]:
    """The first input of each forward pass of the module from now on."""
    inputs: list[Tensor] = []
    module.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    return inputs


def sample(label: Tensor, edges: bool = False) -> SegDataSample:
    """label: (H, W) long."""
    shape = dict(img_shape=tuple(label.shape), ori_shape=tuple(label.shape), pad_shape=tuple(label.shape))
    labelled = SegDataSample(gt_sem_seg=PixelData(data=label[None]), metainfo=shape)
    if edges:  # of PIDNet
        labelled.gt_edge_map = PixelData(data=(label[None] == 1).long())
    return labelled


def unlabelled(size: tuple[int, int]) -> SegDataSample:
    return SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))


def labels(batch: int = 2, size: int = 32, classes: int = CLASSES, seed: int = 0, void: float = 0.1) -> Tensor:
    """Random blocks of classes with some void pixels, (B, H, W) long."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(classes, (batch, size // 4, size // 4), generator=generator)
    label = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return label.masked_fill(torch.rand(label.shape, generator=generator) < void, 255)


def batch(size: int = 32, count: int = 2, seed: int = 0, classes: int = CLASSES, edges: bool = False) -> dict:
    """What the data loader gives: 0-255 images of both domains, and labels of the source."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (2, count, 3, size, size), generator=generator, dtype=torch.uint8)
    label = labels(count, size, classes, seed)
    return dict(
        source=dict(inputs=list(images[0]), data_samples=[sample(image_label, edges) for image_label in label]),
        target=dict(inputs=list(images[1]), data_samples=[unlabelled((size, size)) for _ in range(count)]))


def padded_batch(model: nn.Module, height: int = 20, width: int = 24) -> dict:
    """The second target is smaller than the crop."""
    data = batch()
    target = data['target']
    target['inputs'][1] = target['inputs'][1][:, :height, :width]
    target['data_samples'][1] = unlabelled((height, width))
    return model.data_preprocessor(data, True)


def losses_of(model: nn.Module, data: dict) -> tuple[Tensor, dict]:
    """The total that is back-propagated, and what is logged, as `train_step` makes them."""
    data = model.data_preprocessor(data, True)
    return model.parse_losses(model(**data, mode='loss'))


def step_of(model: nn.Module, data: dict) -> Step:
    """The step with its masks and views, before the student's passes."""
    step = model.begin_step(data['inputs'], data['data_samples'])
    model.prepare_views(step)
    return step
