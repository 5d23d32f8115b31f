# DACS with DAFormer's network, LoveDA urban -> rural: remote sensing. No publication reports this combination.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/loveda_urban2rural_512.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='DACS',
    segmentor=dict(_base_.model, decode_head=dict(_base_.model.decode_head, num_classes=7)))
