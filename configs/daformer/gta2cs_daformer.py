# DAFormer, GTA -> Cityscapes: 40k iterations of 2 + 2 images.
_base_ = '../_base_/gta2cs_daformer_rcs.py'
model = dict(_delete_=True, type='DAFormer', segmentor=_base_.model)
