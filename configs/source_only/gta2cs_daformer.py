# MiT-B5 and the DAFormer head trained on GTA only.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/gta2cs_512_flip.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
