# DACS with the network and schedule of DAFormer, and none of its other parts.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/synthia2cs_512_flip.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='DACS', segmentor=_base_.model)
