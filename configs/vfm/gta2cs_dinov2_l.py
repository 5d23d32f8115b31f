# VFM-UDA++ with DINOv2-L, GTA -> Cityscapes. The released model, trained again after the paper, has 79.8 mIoU (69.0 on
# WildDash2, which is in neither domain). 2 + 2 images on each of four GPUs (tools/dist_train.sh); on one:
# train_dataloader.batch_size=8. The decoder is a simple feature pyramid with DAFormer's head; the paper's pyramid of
# convolutions on a ViT adapter needs compiled deformable attention and separate pretraining. The ViT gets images of
# 1036 pixels, the paper's 1120.
# Count first: mmseg-camix stats gta data/gta
_base_ = [
    '../_base_/models/daformer_dinov2_b.py',
    '../_base_/datasets/gta2cs_1024_vfm.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
    '../_base_/vfm_uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/gta/sample_class_stats.json',
            temperature=0.01,
            min_pixels=3000,
            crop_share=2.0,  # of 1024x1024 pixels
            tries=20,
            dataset=_base_.train_dataloader.dataset.source)))
optim_wrapper = dict(
    optimizer=dict(lr=1e-5 * 8**0.5),  # the code's 1e-5 times the square root of the batch
    # A tenth for the encoder: the decay's first factor, .9, is that of the last block.
    paramwise_cfg=dict(_delete_=True, custom_keys={'backbone.network': dict(lr_mult=0.1 / 0.9)}, layer_decay=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=_base_.warm_up),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=0, end=_base_.max_iters),
]
model = dict(
    _delete_=True,
    type='DACS',
    segmentor=dict(
        _base_.model,
        backbone=dict(_base_.model.backbone, name='vit_large_patch14_dinov2'),
        decode_head=dict(_base_.model.decode_head, in_channels=[1024] * 4)),
    **_base_.vfm_uda)
