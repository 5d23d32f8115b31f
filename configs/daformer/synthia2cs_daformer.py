# DAFormer, SYNTHIA -> Cityscapes: 40k iterations of 2 + 2 images.
_base_ = '../_base_/synthia2cs_daformer_rcs.py'
model = dict(_delete_=True, type='DAFormer', segmentor=_base_.model)
