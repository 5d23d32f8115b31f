# MIC on DACS with DeepLabV2, GTA -> Cityscapes, to compare with configs/dacs/gta2cs_deeplabv2.py, which differs
# only in the method. The paper's row of DACS (Table 1) is for another protocol: AdamW, 40k iterations, another head.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/gta2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(_delete_=True, type='MIC', segmentor=_base_.model)
