# The recipe of VFM-UDA++ on the miniature benchmark, with a small ViT from scratch. It shows that the parts work
# together, but measures no gain, because both encoders start from random weights. Patches of 8 pixels: 12 x 12 for a
# crop of 96.
_base_ = [
    '../_base_/models/daformer_dinov2_b.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
    '../_base_/vfm_uda.py',
]
_vit = dict(
    type='TimmViT', name='vit_tiny_patch16_224',
    arguments=dict(depth=4, embed_dim=48, num_heads=3, patch_size=8, img_size=96))
model = dict(
    _delete_=True,
    type='DACS',
    segmentor=dict(
        _base_.model,
        data_preprocessor=dict(_base_.model.data_preprocessor, size=_base_.crop_size),
        backbone=_vit,
        decode_head=dict(_base_.model.decode_head, in_channels=[48] * 4, embed_dims=48, channels=48),
        test_cfg=dict(mode='whole')),
    **dict(
        _base_.vfm_uda,
        objectives=dict(
            _base_.vfm_uda.objectives,
            distillation=dict(_base_.vfm_uda.objectives.distillation, size=96, encoder=dict(_vit, pyramid=False))),
        teacher=dict(alpha=0.99)))
