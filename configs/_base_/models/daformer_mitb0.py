# The smallest of its family: 3.3 M parameters in the backbone.
_base_ = './daformer_mitb5.py'
model = dict(
    backbone=dict(variant='b0', init_cfg=dict(checkpoint='pretrained/mit_b0.pth')),
    decode_head=dict(in_channels=[32, 64, 160, 256]))
