# CAMix with MIC's masked view, on the miniature benchmark: configs/camix/mini_gta2cs_tiny.py, whose prior it needs, and
# one entry in each table.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(context=dict(prior='data/mini/priors/gta.npz'), blocks=dict(type='BlockMask')),
    views=dict(masked=dict(type='Masked')),
    objectives=dict(masked=dict(type='PixelCrossEntropy', view='masked')))
