# The DACS family and its baselines on the miniature benchmark; run by
# benchmarks/methods.py.
title = 'The DACS family, miniature GTA -> Cityscapes'
_baseline = 'configs/baselines/mini_gta2cs_tiny_'
rows = [
    dict(name='Source only', config='configs/source_only/mini_gta2cs_tiny.py', source_val=True),
    dict(name='Oracle', config='configs/source_only/mini_gta2cs_tiny_oracle.py'),
    dict(name='Pseudo-labelling', config=_baseline + 'pseudo_labelling.py', seeds=1),
    dict(name='Mean teacher', config=_baseline + 'mean_teacher.py'),
    dict(name='Naive ClassMix', config=_baseline + 'naive_classmix.py', seeds=1),
    dict(name='Naive ClassMix + DA', config=_baseline + 'naive_classmix_da.py', seeds=1),
    dict(name='CutMix', config=_baseline + 'cutmix.py', seeds=1),
    dict(name='CowMix', config=_baseline + 'cowmix.py', seeds=1),
    dict(name='DACS', config='configs/dacs/mini_gta2cs_tiny.py'),
    dict(name='iDACS', config='configs/dacs/mini_gta2cs_tiny_inverse.py'),
]
