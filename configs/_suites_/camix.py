# CAMix and the rows of its papers' Tables IV to VII; run by benchmarks/methods.py.
# The prior comes first: mmseg-camix prior configs/camix/mini_gta2cs_tiny.py
title = 'CAMix and its parts, miniature GTA -> Cityscapes'
_once = dict(seeds=1, curve=False)  # ablations
_camix = 'configs/camix/mini_gta2cs_tiny.py'
_baseline = 'configs/baselines/mini_gta2cs_tiny_'
_groups = 'model.masks.context.groups'
_significance = 'model.pseudo_labels.significance'
_no_sp = {'model.masks.context.prior': None}
_no_cr = {_groups: None}
_ce = {'model.objectives.mixed.type': 'PixelCrossEntropy', 'model.objectives.mixed.view': 'mixed', _significance: None}
_mse = {**_ce, 'model.objectives.mixed.type': 'PixelMSE'}
_src_on_target = {'model.objectives.strong.type': 'SignificanceCrossEntropy', 'model.objectives.strong.view': 'strong',
                  'model.pseudo_labels.weighted': True, _significance + '.passes': 8}
rows = [
    # Table IV; the same trainings as in the suite of the DACS family, whose results are taken over.
    dict(name='Source only', config='configs/source_only/mini_gta2cs_tiny.py', source_val=True),
    dict(name='Mean teacher', config=_baseline + 'mean_teacher.py'),
    dict(name='CutMix', config=_baseline + 'cutmix.py', seeds=1),
    dict(name='CowMix', config=_baseline + 'cowmix.py', seeds=1),
    dict(name='DACS', config='configs/dacs/mini_gta2cs_tiny.py'),
    dict(name='iDACS', config='configs/dacs/mini_gta2cs_tiny_inverse.py'),
    # Table V (a). The row with both is also "In-Out" of Table V (b) and "CE" of Table VI: without
    # significance the loss is the plain cross-entropy, and the three are one training.
    dict(name='iDACS + SP', config=_camix, options={**_ce, **_no_cr}, seeds=1),
    dict(name='iDACS + CR', config=_camix, options={**_ce, **_no_sp}, seeds=1),
    dict(name='iDACS + SP + CR (In-Out, CE)', config=_camix, options=_ce, seeds=1),
    dict(name='CAMix', config=_camix),
    # Table 6 of the first version: significance without any mixing.
    dict(name='Mean teacher + SigMask', config=_baseline + 'mean_teacher.py', options=_src_on_target, **_once),
    # Table VI
    dict(name='CAMix, MSE', config=_camix, options=_mse, **_once),
    # Table VII; groups I and II are CAMix itself.
    dict(name='CAMix, group I', config=_camix, options={_groups: ['I']}, **_once),
    dict(name='CAMix, groups I-III', config=_camix, options={_groups: ['I', 'II', 'III']}, **_once),
    dict(name='CAMix, groups I-IV', config=_camix, options={_groups: ['I', 'II', 'III', 'IV']}, **_once),
    dict(name='CAMix, groups I-V', config=_camix, options={_groups: ['I', 'II', 'III', 'IV', 'V']}, **_once),
    # Not in the papers. The first two examine why the spatial prior costs accuracy here.
    dict(name='iDACS + SP, where Q and teacher agree', config=_camix, **_once,
         options={**_ce, **_no_cr, 'model.masks.context.agreeing': True}),
    dict(name='CAMix, where Q and teacher agree', config=_camix, options={'model.masks.context.agreeing': True}),
    dict(name='CAMix, labels from Q P', config=_camix, **_once,
         options={'model.views.relabelled.type': 'Relabelled', 'model.views.camix.donor': 'relabelled'}),
    dict(name='CAMix, Q below confidence .9', config=_camix, options={'model.masks.context.below': 0.9}, **_once),
    dict(name='CAMix, classes drawn from P', config=_camix, options={'model.masks.context.draw': 'own'}, **_once),
    dict(name='CAMix, groups from labels', config=_camix, options={_groups: 'auto'}, **_once),
    dict(name='CAMix, released threshold', config=_camix, **_once,
         options={_significance + '.form': 'official', _significance + '.bound': 'classes'}),
    dict(name='CAMix, released code', config='configs/camix/mini_gta2cs_tiny_official.py', **_once),
]
