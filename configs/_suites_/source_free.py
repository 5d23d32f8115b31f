# Adaptation without source on the miniature benchmark, its parts one by one, beside DACS with the source; run by
# benchmarks/methods.py.
title = 'Without source, miniature GTA -> Cityscapes'
_free = dict(config='configs/source_free/mini_gta2cs_tiny.py', start='Source only')
_once = dict(_free, seeds=1)
_quota = 'model.pseudo_labels.quota'
rows = [
    dict(name='Source only', config='configs/source_only/mini_gta2cs_tiny.py', source_val=True),
    dict(name='Oracle', config='configs/source_only/mini_gta2cs_tiny_oracle.py'),
    dict(name='DACS', config='configs/dacs/mini_gta2cs_tiny.py'),
    dict(name='Source-free', **_free),
    # A rate of 0: the network as it is, with statistics of target images in its normalisation layers.
    dict(name='Target statistics only', **_free, options={'optim_wrapper.optimizer.lr': 0.0}),
    dict(name='Source-free without quotas', **_once, options={_quota: None}),
    dict(name='Source-free without mixing', **_once, options={'model.objectives.mixed': None}),
    dict(name='Source-free without masking', **_once, options={'model.objectives.masked': None}),
    dict(name='Source-free with anchor', **_once,
         options={'model.objectives.anchor.type': 'InitialDivergence', 'model.objectives.anchor.view': 'masked'}),
    dict(name='Source-free, ten times the rate', **_once, options={'optim_wrapper.optimizer.lr': 5e-4}),
]
