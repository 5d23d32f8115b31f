# DACS with DAFormer's network, Cityscapes -> Dark Zurich: adaptation to night.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/cityscapes2dark_zurich_512.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
