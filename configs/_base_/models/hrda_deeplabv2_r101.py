# HRDA on DeepLabV2 as its authors train it: ResNet-101 with a deep stem at stride 8, from ImageNet, and two dilated
# classifiers at two scales; the scale attention is another pair of them. Differs from deeplabv2_r101.py, the network of
# the DACS family, in stem, weights, normalisation and align_corners.
model = dict(
    type='HRDAEncoderDecoder',
    detail_size=(512, 512),
    detail_weight=0.1,
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(1024, 1024)),
    backbone=dict(
        type='ResNetV1c',
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet101_v1c')),
    decode_head=dict(
        type='DeepLabV2Head',
        in_channels=2048,
        in_index=3,
        num_classes=19,
        dilations=(6, 12),
        align_corners=False,
        # Mean over all pixels with 0 for void ones, as in the authors' code.
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(1024, 1024), stride=(512, 512)))
