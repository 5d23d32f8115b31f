# RCCR as its released GTA script computes it: the contrast would start after the end of the training, and its
# projector is never trained.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/gta2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='RCCR',
    segmentor=dict(
        _base_.model,
        # Only ImageNet, as published, without COCO. A caffe conversion; for torchvision's weights see the base.
        backbone=dict(
            _base_.model.backbone,
            init_cfg=dict(type='PretrainedBackbone', checkpoint='pretrained/resnet101_imagenet.pth'))),
    masks=dict(
        classes=dict(count_ignore=True),
        square=dict(per='batch')),
    objectives=dict(
        contrast=dict(begin=300000, pool='batch', bank=2, weight=dict(power_of='elapsed'))),
    predict_with='student')
optim_wrapper = dict(
    constructor='ReleasedFamilyConstructor',  # steps the backbone three to four times
    paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=0.0, decay_mult=0.0))))
