# iDAFormer, without its feature distance: predicted classes of a target image over a source image. The scaled numbers
# are explained in mini_gta2cs_tiny.py.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            temperature=0.01,
            min_pixels=50,  # per image; DAFormer's 3000, scaled to images of 240x135 (48)
            crop_share=1.0,  # share of them in a crop; DAFormer's 1500, scaled (53)
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(
    _delete_=True,
    type='iDAFormer',
    segmentor=_base_.model,
    objectives=dict(features=None),
    pseudo_labels=dict(ignore_top=3, ignore_bottom=22),
    teacher=dict(alpha=0.99))
