# DeepLabV2 trained on GTA only, with the optimiser of the released code.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/gta2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
optim_wrapper = dict(constructor='ReleasedFamilyConstructor')  # steps the backbone three to four times
model = dict(_delete_=True, type='SourceOnly', segmentor=_base_.model)
