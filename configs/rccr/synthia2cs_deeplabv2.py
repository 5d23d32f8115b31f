# RCCR as published, SYNTHIA -> Cityscapes: SGD, 250k iterations of 2 + 2 images; head and
# projector have ten times the rate of the backbone.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/synthia2cs_512.py',
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
            init_cfg=dict(type='PretrainedBackbone', checkpoint='pretrained/resnet101_imagenet.pth'))))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(projector=dict(lr_mult=10.0))))
