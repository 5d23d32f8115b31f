# iDAFormer, without its feature distance: predicted classes of a target image over a source image.
_base_ = './mini_gta2cs_tiny.py'
model = dict(type='iDAFormer')
