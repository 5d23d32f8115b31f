# The miniature benchmark from ImageNet weights and four times as long as the photographs' protocol, to see which orders
# of methods depend on random weights and a short training; run by benchmarks/methods.py. The prior comes first:
#   mmseg-camix prior configs/camix/mini_gta2cs_tiny.py --out data/mini/priors/gta.npz
title = 'From ImageNet weights, miniature GTA -> Cityscapes'
_longer = {'train_cfg.max_iters': 2400, 'train_cfg.val_interval': 600, 'param_scheduler.1.end': 2400}
rows = [
    dict(name=name, config=f'configs/{config}.py', options={**_longer, **options})
    for name, config, options in (
        ('Source only', 'source_only/mini_gta2cs_lite', {}),
        ('Oracle', 'source_only/mini_gta2cs_lite_oracle', {}),
        ('DACS', 'dacs/mini_gta2cs_lite', {}),
        ('iDACS', 'dacs/mini_gta2cs_lite_inverse', {}),
        ('CAMix', 'camix/mini_gta2cs_lite', {}),
        ('CAMix, where Q and teacher agree', 'camix/mini_gta2cs_lite', {'model.masks.context.agreeing': True}))
]
