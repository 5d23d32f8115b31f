# All methods on photographs, from drawings; run by benchmarks/methods.py (docs/real_photographs.md).
# Drawings and prior come first:
#   mmseg-camix draw --out data/drawn --sets gta --height 256 --train 500 --val 0
#   mmseg-camix prior configs/camix/drawn2camvid_lite.py \
#     --out data/priors/drawn.npz
title = 'Drawn streets -> CamVid'
page = 'real_photographs.md'
data_root = 'data/camvid'
_camix = 'configs/camix/drawn2camvid_lite.py'
rows = [
    dict(name='Source only', config='configs/source_only/drawn2camvid_lite.py'),
    dict(name='Oracle', config='configs/source_only/drawn2camvid_lite_oracle.py'),
    dict(name='DACS', config='configs/dacs/drawn2camvid_lite.py'),
    dict(name='CAMix', config=_camix),
    dict(name='CAMix without significance', config='configs/camix/drawn2camvid_lite_all_pixels.py'),
    dict(name='iDACS', config='configs/dacs/drawn2camvid_lite_inverse.py'),
    dict(name='MIC', config='configs/mic/drawn2camvid_lite.py'),
    dict(name='DAFormer', config='configs/daformer/drawn2camvid_lite.py'),
    dict(name='DAFormer + MIC', config='configs/mic/drawn2camvid_lite_daformer.py'),
    dict(name='iDAFormer', config='configs/daformer/drawn2camvid_lite.py', options={'model.type': 'iDAFormer'}),
    dict(name='CAMix on DAFormer', config='configs/camix/drawn2camvid_lite_daformer.py'),
    dict(name='CAMix on DAFormer, where Q and teacher agree', config='configs/camix/drawn2camvid_lite_daformer.py',
         options={'model.masks.context.agreeing': True}),
    dict(name='CAMix on DAFormer, without significance', config='configs/camix/drawn2camvid_lite_daformer.py', seeds=1,
         curve=False,
         options={'model.objectives.mixed.type': 'PixelCrossEntropy', 'model.objectives.mixed.view': 'mixed',
                  'model.pseudo_labels.significance': None}),
    dict(name='DAFormer without feature distance', config='configs/daformer/drawn2camvid_lite.py', seeds=1,
         curve=False, options={'model.objectives.features': None}),
    dict(name='DSP', config='configs/dsp/drawn2camvid_lite.py'),
    # With the released code's weight for labels of the teacher, which the paper leaves out.
    dict(name='DSP, labels weighted by q', config='configs/dsp/drawn2camvid_lite.py',
         options={'model.pseudo_labels.weighted': True}),
    dict(name='RCCR', config='configs/rccr/drawn2camvid_lite.py'),
    dict(name='Mean teacher', config='configs/baselines/drawn2camvid_lite_mean_teacher.py', seeds=1),
    dict(name='CutMix', config='configs/baselines/drawn2camvid_lite_cutmix.py', seeds=1),
    dict(name='Source-free', config='configs/source_free/drawn2camvid_lite.py', start='Source only', curve=False),
    dict(name='Target statistics only', config='configs/source_free/drawn2camvid_lite.py', start='Source only', seeds=1,
         curve=False, options={'optim_wrapper.optimizer.lr': 0.0}),
    dict(name='CAMix, where Q and teacher agree', config=_camix, options={'model.masks.context.agreeing': True}),
]
