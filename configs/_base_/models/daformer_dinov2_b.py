# DINOv2-B from timm with a simple feature pyramid, and the DAFormer head, for crops of 1024x1024; tested in windows of
# that size, half overlapping. Its learning rate needs a decay by depth: optim_wrapper.paramwise_cfg.layer_decay=0.9.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(1024, 1024)),
    backbone=dict(
        type='TimmViT',
        name='vit_base_patch14_dinov2',
        pretrained=True,  # timm downloads the weights; for a file: init_cfg=dict(type='PretrainedBackbone', ...)
        frozen=False),
    decode_head=dict(
        type='DAFormerHead',
        in_channels=[768, 768, 768, 768],
        num_classes=19,
        embed_dims=256,
        channels=256,
        fusion='context',  # 'plain': one 1x1 convolution; 'aspp': full convolutions
        dilations=(1, 6, 12, 18),
        dropout_ratio=0.1,
        align_corners=False,
        # Mean over the labelled pixels, as in VFM-UDA++.
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
