# DAFormer on the miniature benchmark without its feature distance, since no ImageNet weights exist for a network of
# this size (mini_gta2cs_tiny_fd.py has a substitute). Rare-class sampling, class pool of the batch, jitter .2 and
# rows without labels are DAFormer's. The warm-up is that of the miniature protocol, 50 of 1200 iterations, the same
# share as DAFormer's 1500 of 40000.
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
    type='DAFormer',
    segmentor=_base_.model,
    objectives=dict(features=None),
    # 15 and 120 of 512 rows, scaled to crops of 96; both crops have the full height of the image.
    pseudo_labels=dict(ignore_top=3, ignore_bottom=22),
    # As for the other methods: min(1 - 1 / (t + 1), .999) would be the plain mean of all students up to t = 999.
    teacher=dict(alpha=0.99))
