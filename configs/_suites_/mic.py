# MIC and HRDA beside the methods that they are added to; run by benchmarks/methods.py. First:
#   mmseg-camix prior configs/camix/mini_gta2cs_tiny.py --out data/mini/priors/gta.npz
title = 'MIC and HRDA, miniature GTA -> Cityscapes'
rows = [
    dict(name='DACS', config='configs/dacs/mini_gta2cs_tiny.py'),
    dict(name='DACS + MIC', config='configs/mic/mini_gta2cs_tiny.py'),
    dict(name='DACS + HRDA', config='configs/hrda/mini_gta2cs_tiny.py'),
    dict(name='DACS + MIC + HRDA', config='configs/hrda/mini_gta2cs_tiny_mic.py'),
    dict(name='CAMix', config='configs/camix/mini_gta2cs_tiny.py'),
    dict(name='CAMix + MIC', config='configs/camix/mini_gta2cs_tiny_mic.py'),
]
