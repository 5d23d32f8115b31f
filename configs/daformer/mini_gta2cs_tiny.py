# DAFormer's recipe on the miniature benchmark, WITHOUT its feature distance: there is no ImageNet for a
# network of this size (mini_gta2cs_tiny_fd.py has a stand-in). Rare-class sampling, class pool of the
# batch, jitter .2 and rows without labels are DAFormer's; the warm-up is the protocol's, 50 of 1200
# iterations (DAFormer: 1500 of 40000, the same share), and so are crops of at most 75 % one class.
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
            min_pixels=50,  # of an image; DAFormer's 3000 scaled to images of 240x135 (48)
            crop_share=1.0,  # of them in a crop: DAFormer's 1500 scaled (53)
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(
    _delete_=True,
    type='DAFormer',
    segmentor=_base_.model,
    objectives=dict(features=None),
    # 15 and 120 of 512 rows, in a crop of 96; both crops have the image's whole height.
    pseudo_labels=dict(ignore_top=3, ignore_bottom=22),
    # .999 would average all of the 1200 iterations so far, the first with the same weight as the last:
    # min(1 - 1 / (t + 1), .999) is the plain mean up to t = 999. This is the other methods' teacher.
    teacher=dict(alpha=0.99))
