# DAFormer's parts and CAMix on them; run by benchmarks/methods.py. First:
#   mmseg-camix prior configs/camix/mini_gta2cs_tiny.py --out data/mini/priors/gta.npz
#   mmseg-camix train configs/source_only/mini_gta2cs_tiny.py   # the encoder of the rows with FD
# The feature distance needs a pretrained encoder, and no ImageNet weights exist for this network: in the last two rows
# it is an encoder trained on the source, from which the student starts, too. These two compare only with each other;
# all other rows start from scratch, without the feature distance.
title = "DAFormer's parts, miniature GTA -> Cityscapes"
_daformer = 'configs/daformer/mini_gta2cs_tiny.py'
_fd = 'configs/daformer/mini_gta2cs_tiny_fd.py'
rows = [
    dict(name='Source only', config='configs/source_only/mini_gta2cs_tiny.py', source_val=True),
    dict(name='DACS', config='configs/dacs/mini_gta2cs_tiny.py'),
    dict(name='DACS + RCS', config='configs/dacs/mini_gta2cs_tiny_rcs.py'),
    dict(name='DAFormer without FD', config=_daformer),
    dict(name='iDAFormer without FD', config='configs/daformer/mini_gta2cs_tiny_inverse.py'),
    dict(name='CAMix', config='configs/camix/mini_gta2cs_tiny.py'),
    dict(name='CAMix on DAFormer without FD', config='configs/camix/mini_gta2cs_tiny_daformer.py'),
    # The published alpha, in a training of 1200 iterations.
    dict(name='DAFormer without FD, alpha .999', config=_daformer, options={'model.teacher.alpha': 0.999}, seeds=1),
    dict(name='DAFormer without FD, source-trained encoder', config=_fd, options={'model.objectives.features': None}),
    dict(name='DAFormer, source-trained encoder', config=_fd),
]
