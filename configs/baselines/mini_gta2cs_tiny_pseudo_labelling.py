_base_ = '../_base_/mini_gta2cs_tiny.py'
model = dict(_delete_=True, type='PseudoLabelling', segmentor=_base_.model)
