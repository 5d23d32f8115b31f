# DeepLabV2 with ResNet-101 at output stride 8, as in the DACS family: 43.2 M parameters, 42.5 M of them in the
# backbone. Scale and shift of the normalisation layers are not trained. 512x512 pixels give 65x65 logits.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[104.00698793, 116.66876762, 122.67891434],  # BGR without a deviation, as caffe's
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512)),
    backbone=dict(
        type='DeepLabResNet',
        depth=101,
        style='caffe',
        # ImageNet and COCO, under the names `Scale.layer1...` (its classifier is left out). For
        # torchvision's weights: style='pytorch', and mean, std and order of ImageNet above.
        init_cfg=dict(type='PretrainedBackbone', checkpoint='pretrained/deeplabv2_r101_coco.pth')),
    decode_head=dict(
        type='DeepLabV2Head',
        in_channels=2048,
        in_index=3,
        num_classes=19,
        dilations=(6, 12),  # the papers print (6, 12, 18, 24); their numbers were obtained with these two
        align_corners=True,
        # Mean over the labelled pixels.
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0, avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
