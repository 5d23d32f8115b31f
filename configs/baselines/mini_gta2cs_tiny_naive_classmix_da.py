# Naive ClassMix with distribution alignment. As in the DACS paper, the prior is the target's ground truth, which is not
# available in practice: an upper bound for a good prior. Count it first:
#   mmseg-camix stats cityscapes data/mini/cityscapes --split train
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='NaiveClassMix',
    segmentor=_base_.model,
    pseudo_labels=dict(align=dict(prior='data/mini/cityscapes/sample_class_stats.json')))
