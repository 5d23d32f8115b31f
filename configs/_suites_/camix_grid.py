# The two parameters of CAMix's threshold (Eq. 7, the paper's Fig. 8), one varied at a time; run by
# benchmarks/methods.py. The figure's values cannot be read from the paper's text: these
# surround the published optimum, beta .75 and gamma -5, which is the row CAMix.
title = 'CAMix: beta and gamma of the threshold, miniature GTA -> Cityscapes'
_camix = 'configs/camix/mini_gta2cs_tiny.py'
_significance = 'model.pseudo_labels.significance.'
rows = [
    dict(name='CAMix', config=_camix, seeds=1),
    dict(name='beta 0', config=_camix, options={_significance + 'beta': 0.0}, seeds=1),
    dict(name='beta .25', config=_camix, options={_significance + 'beta': 0.25}, seeds=1),
    dict(name='beta .5', config=_camix, options={_significance + 'beta': 0.5}, seeds=1),
    dict(name='beta .9', config=_camix, options={_significance + 'beta': 0.9}, seeds=1),
    dict(name='gamma -1', config=_camix, options={_significance + 'gamma': -1.0}, seeds=1),
    dict(name='gamma -2.5', config=_camix, options={_significance + 'gamma': -2.5}, seeds=1),
    dict(name='gamma -7.5', config=_camix, options={_significance + 'gamma': -7.5}, seeds=1),
    dict(name='gamma -10', config=_camix, options={_significance + 'gamma': -10.0}, seeds=1),
]
