# All methods on photographs, from day to dusk; run by benchmarks/methods.py (docs/real_photographs.md).
# The prior comes first: mmseg-camix prior configs/camix/day2dusk_lite.py \
#     --out data/priors/camvid_day.npz
title = 'CamVid, day -> dusk'
page = 'real_photographs.md'
data_root = 'data/camvid'
_camix = 'configs/camix/day2dusk_lite.py'
rows = [
    dict(name='Source only', config='configs/source_only/day2dusk_lite.py'),
    dict(name='Oracle', config='configs/source_only/day2dusk_lite_oracle.py'),
    dict(name='DACS', config='configs/dacs/day2dusk_lite.py'),
    dict(name='CAMix', config=_camix),
    dict(name='CAMix without significance', config='configs/camix/day2dusk_lite_all_pixels.py'),
    dict(name='iDACS', config='configs/dacs/day2dusk_lite_inverse.py'),
    dict(name='MIC', config='configs/mic/day2dusk_lite.py'),
    dict(name='DAFormer', config='configs/daformer/day2dusk_lite.py'),
    dict(name='DAFormer + MIC', config='configs/mic/day2dusk_lite_daformer.py'),
    dict(name='iDAFormer', config='configs/daformer/day2dusk_lite.py', options={'model.type': 'iDAFormer'}),
    dict(name='CAMix on DAFormer', config='configs/camix/day2dusk_lite_daformer.py'),
    dict(name='CAMix on DAFormer, where Q and teacher agree', config='configs/camix/day2dusk_lite_daformer.py',
         options={'model.masks.context.agreeing': True}),
    dict(name='DAFormer without feature distance', config='configs/daformer/day2dusk_lite.py', seeds=1,
         curve=False, options={'model.objectives.features': None}),
    dict(name='DSP', config='configs/dsp/day2dusk_lite.py'),
    # With the released code's weight for labels of the teacher, which the paper leaves out.
    dict(name='DSP, labels weighted by q', config='configs/dsp/day2dusk_lite.py',
         options={'model.pseudo_labels.weighted': True}),
    dict(name='RCCR', config='configs/rccr/day2dusk_lite.py'),
    dict(name='Mean teacher', config='configs/baselines/day2dusk_lite_mean_teacher.py', seeds=1),
    dict(name='CutMix', config='configs/baselines/day2dusk_lite_cutmix.py', seeds=1),
    dict(name='Source-free', config='configs/source_free/day2dusk_lite.py', start='Source only', curve=False),
    dict(name='Target statistics only', config='configs/source_free/day2dusk_lite.py', start='Source only', seeds=1,
         curve=False, options={'optim_wrapper.optimizer.lr': 0.0}),
    dict(name='CAMix, where Q and teacher agree', config=_camix, options={'model.masks.context.agreeing': True}),
    dict(name='CAMix, labels from Q P', config=_camix,
         options={'model.views.relabelled.type': 'Relabelled', 'model.views.camix.donor': 'relabelled'}),
    dict(name='CAMix, Q below confidence .9', config=_camix, options={'model.masks.context.below': 0.9}),
]
