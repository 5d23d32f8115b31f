# Why CAMix ends below what it builds on, and what mends it: one change at a time; run by benchmarks/methods.py.
# Drawings and prior: see drawn2camvid.py, whose results are shared.
title = 'CAMix and its changes, drawn streets -> CamVid'
page = 'real_photographs.md'
data_root = 'data/camvid'
_camix = 'configs/camix/drawn2camvid_lite.py'
_inverse = 'configs/dacs/drawn2camvid_lite_inverse.py'
_context = 'model.masks.context.'
_significance = 'model.pseudo_labels.significance'
_relabelled = {'model.views.relabelled.type': 'Relabelled', 'model.views.camix.donor': 'relabelled'}
_twice = {'train_cfg.max_iters': 1200, 'param_scheduler.1.end': 1200}
_once = dict(seeds=1, curve=False)
rows = [
    dict(name='Source only', config='configs/source_only/drawn2camvid_lite.py'),
    dict(name='Oracle', config='configs/source_only/drawn2camvid_lite_oracle.py'),
    dict(name='DACS', config='configs/dacs/drawn2camvid_lite.py'),
    dict(name='iDACS', config=_inverse),
    dict(name='CAMix', config=_camix),
    # What mends it, if the prior overrules an unsure teacher: leave out, relabel, or spare the pixels.
    dict(name='CAMix, where Q and teacher agree', config=_camix, options={_context + 'agreeing': True}),
    dict(name='CAMix, labels from Q P', config=_camix, options=_relabelled),
    dict(name='CAMix, Q below confidence .9', config=_camix, options={_context + 'below': 0.9}),
    # Parts: without the prior; without the significance mask; both are iDACS with relations.
    dict(name='CAMix without Q', config=_camix, options={_context + 'prior': None}, seeds=1),
    dict(name='CAMix without significance', config='configs/camix/drawn2camvid_lite_all_pixels.py'),
    # Fewer classes in the draw
    dict(name='CAMix, classes drawn from P', config=_camix, options={_context + 'draw': 'own'}, seeds=1),
    dict(name='CAMix, classes drawn from P, labels from Q P', config=_camix, **_once,
         options={**_relabelled, _context + 'draw': 'own'}),
    dict(name='CAMix, Q below confidence .5', config=_camix, options={_context + 'below': 0.5}, **_once),
    dict(name='CAMix, Q below confidence .9, labels from Q P', config=_camix, **_once,
         options={**_relabelled, _context + 'below': 0.9}),
    # Noise and threshold
    dict(name='CAMix without noise', config=_camix, **_once,
         options={_significance + '.noise': 0.0, _significance + '.passes': 1}),
    dict(name='CAMix, released threshold', config=_camix, **_once,
         options={_significance + '.form': 'official', _significance + '.bound': 'classes'}),
    # Too short a training
    dict(name='iDACS, 1200 iterations', config=_inverse, options=_twice, **_once),
    dict(name='CAMix, 1200 iterations', config=_camix, options=_twice, **_once),
]
