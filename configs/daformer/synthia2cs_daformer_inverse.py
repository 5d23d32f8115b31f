# iDAFormer: predicted classes of a target image over a source image (CAMix paper, Table IV b).
_base_ = '../_base_/synthia2cs_daformer_rcs.py'
model = dict(_delete_=True, type='iDAFormer', segmentor=_base_.model)
