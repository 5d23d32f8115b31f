# DeepLabV2 with VGG-16 (CAMix paper, Fig. 9): 512x512 pixels give 64x64 logits.
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
        type='DeepLabVGG16',
        # torchvision's weights; fc6 and fc7 start at random.
        init_cfg=dict(type='PretrainedBackbone', checkpoint='pretrained/vgg16.pth')),
    decode_head=dict(
        type='DeepLabV2Head',
        in_channels=1024,
        in_index=0,
        num_classes=19,
        dilations=(6, 12),
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
