# DAFormer with MIC's masked view on photographs, drawn streets -> CamVid.
# Three entries differ from ../daformer/drawn2camvid_lite.py.
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/drawn2camvid.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            temperature=0.01,
            min_pixels=750,  # DAFormer's 3000 of 1280x720 pixels, scaled to drawings of 640x360
            crop_share=0.375,  # share of them in a crop: half, after the resize to 480x360
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(
    _delete_=True,
    type='DAFormer',
    segmentor=_base_.model,
    acceleration=_base_.acceleration,
    masks=dict(blocks=dict(type='BlockMask')),
    views=dict(masked=dict(type='Masked')),
    objectives=dict(
        features=dict(things=['sign', 'car', 'pedestrian', 'bicyclist'], index=2),
        masked=dict(type='PixelCrossEntropy', view='masked')),
    pseudo_labels=dict(ignore_top=0, ignore_bottom=0),
    teacher=dict(alpha=0.99))
