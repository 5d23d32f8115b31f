# DAFormer on the miniature benchmark with its feature distance. No ImageNet weights exist for a network of this size:
# student and frozen encoder start from an encoder that was trained on the source, for 1200 iterations. It therefore
# compares only with `--cfg-options model.objectives.features=None`, which has the same start. All seeds share the
# encoder (as all share ImageNet's). Train it first, from the repository's root:
#   mmseg-camix train configs/source_only/mini_gta2cs_tiny.py
# The other scaled numbers are explained in mini_gta2cs_tiny.py.
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
    segmentor=dict(
        _base_.model,
        backbone=dict(
            _base_.model.backbone,
            init_cfg=dict(
                type='PretrainedBackbone',
                checkpoint='work_dirs/source_only/mini_gta2cs_tiny/iter_1200.pth',
                prefix='student.backbone.'))),
    # The map of stride 16: things cover three quarters of only 3 % of the last map's 3x3 cells.
    objectives=dict(features=dict(type='FeatureDistance', index=2)),
    pseudo_labels=dict(ignore_top=3, ignore_bottom=22),
    teacher=dict(alpha=0.99))
