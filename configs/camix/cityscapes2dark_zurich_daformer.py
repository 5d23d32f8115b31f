# CAMix with DAFormer's network, Cityscapes -> Dark Zurich: night. No publication reports this combination.
# Streets keep their layout in any weather, so the spatial prior applies. Count it first:
#   mmseg-camix prior configs/camix/cityscapes2dark_zurich_daformer.py \
#       --out data/priors/cityscapes.npz
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/cityscapes2dark_zurich_512.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    masks=dict(context=dict(prior=_base_.data_root + '/priors/cityscapes.npz')))
