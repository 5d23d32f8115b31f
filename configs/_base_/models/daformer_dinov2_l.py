# DINOv2-L of timm with a simple feature pyramid, and the DAFormer head. Give its learning rate a
# decay by depth: optim_wrapper.paramwise_cfg.layer_decay=0.9.
_base_ = './daformer_mitb5.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmViT',
        name='vit_large_patch14_dinov2',
        pretrained=True,  # timm downloads; or a file: init_cfg=dict(type='PretrainedBackbone', ...)
        frozen=False),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024]))
