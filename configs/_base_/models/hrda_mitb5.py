# HRDA on DAFormer's network: MiT-B5 (81.4 M parameters) and the context-aware head (3.7 M) at two scales, and the scale
# attention, a head of one 1x1 fusion. Tested in windows of 1024x1024, half overlapping.
model = dict(
    type='HRDAEncoderDecoder',
    detail_size=(512, 512),
    detail_weight=0.1,
    scale_attention=dict(fusion='plain'),
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(1024, 1024)),
    backbone=dict(
        type='MiT',
        variant='b5',  # 'b0' to 'b5'; in_channels of the head: (32, 64, 160, 256) for b0
        drop_path_rate=0.1,
        with_cp=False,  # True saves memory: activations are recomputed in the backward pass
        # ImageNet-1k, under the names of SegFormer's authors, of mmseg, or of Hugging Face.
        init_cfg=dict(type='PretrainedBackbone', checkpoint='pretrained/mit_b5.pth')),
    decode_head=dict(
        type='DAFormerHead',
        in_channels=[64, 128, 320, 512],
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
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
