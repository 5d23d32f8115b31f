# DACS with rare-class sampling of the source, and no other part of DAFormer.
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
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
