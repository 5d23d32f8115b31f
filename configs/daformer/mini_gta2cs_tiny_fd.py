# DAFormer on the miniature benchmark with its feature distance. There is no ImageNet for a network of
# this size: student and frozen encoder start from an encoder that was trained on the source. It has seen
# 1200 iterations more than the networks that start from scratch, so that only rows of the same start
# compare: `--cfg-options model.objectives.features=None` is the other one. All seeds share the encoder
# (as all share ImageNet's); train it first, from the repository's root:
#   python tools/train.py configs/source_only/mini_gta2cs_tiny.py
_base_ = './mini_gta2cs_tiny.py'
model = dict(
    segmentor=dict(
        backbone=dict(
            init_cfg=dict(
                type='PretrainedBackbone',
                checkpoint='work_dirs/source_only/mini_gta2cs_tiny/iter_1200.pth',
                prefix='student.backbone.'))),
    # The map of stride 16: of the last one's 3x3 cells next to none (3 %) has three quarters of a thing.
    objectives=dict(features=dict(_delete_=True, type='FeatureDistance', index=2)))
