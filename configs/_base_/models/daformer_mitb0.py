# DAFormer's head on MiT-B0, the smallest of its family: 3.3 M parameters in the backbone.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512)),
    backbone=dict(
        type='MiT',
        variant='b0',
        drop_path_rate=0.1,
        with_cp=False,  # True saves memory: activations are recomputed in the backward pass
        # ImageNet-1k, under the names of SegFormer's authors, of mmseg, or of Hugging Face.
        init_cfg=dict(type='PretrainedBackbone', checkpoint='pretrained/mit_b0.pth')),
    decode_head=dict(
        type='DAFormerHead',
        in_channels=[32, 64, 160, 256],
        num_classes=19,
        embed_dims=256,
        channels=256,
        fusion='context',  # 'plain': one 1x1 convolution; 'aspp': full convolutions
        dilations=(1, 6, 12, 18),
        dropout_ratio=0.1,
        align_corners=False,
        # Mean over all pixels with 0 for void ones, as in DAFormer's released code. `avg_non_ignore=True` is the mean
        # over labelled pixels, as in the DACS family.
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
