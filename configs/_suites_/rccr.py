# RCCR and the rows of its paper's Table 3, each with one part more than the row above; run by
# benchmarks/methods.py.
title = 'RCCR and its parts, miniature GTA -> Cityscapes'
_rccr = 'configs/rccr/mini_gta2cs_tiny.py'
_contrast = 'model.objectives.contrast.'
_no_mb = {_contrast + 'bank': 0}
_no_ps = {**_no_mb, _contrast + 'confidence': None}
_no_ns_c = {**_no_ps, _contrast + 'filter_class': False}
_no_ns_r = {**_no_ns_c, _contrast + 'negative_ratio': 1.0}
rows = [
    dict(name='Source only', config='configs/source_only/mini_gta2cs_tiny.py', source_val=True),
    dict(name='DACS', config='configs/dacs/mini_gta2cs_tiny.py'),
    dict(name='DACS + RWC', config=_rccr, options=_no_ns_r, seeds=1),
    dict(name='+ NS(R)', config=_rccr, options=_no_ns_c, seeds=1),
    dict(name='+ NS(C)', config=_rccr, options=_no_ps, seeds=1),
    dict(name='+ PS', config=_rccr, options=_no_mb, seeds=1),
    dict(name='RCCR (+ MB)', config=_rccr),
    dict(name='RCCR, released code', config='configs/rccr/mini_gta2cs_tiny_official.py', seeds=1),
]
