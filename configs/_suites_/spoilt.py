# Settings that fail, beside the same trainings unspoilt, for benchmarks/selection.py: a third of the usual length, with
# a checkpoint of every hundredth iteration. The shuffled prior is that of GTA with its classes in another order.
title = 'Spoilt settings, miniature GTA -> Cityscapes'
page = 'selection.md'
_short = {
    'train_cfg.max_iters': 400,
    'train_cfg.val_interval': 100,
    'param_scheduler.1.end': 400,
    'default_hooks.checkpoint.interval': 100,
    'default_hooks.checkpoint.max_keep_ckpts': 4,
}
_dacs = 'configs/dacs/mini_gta2cs_tiny.py'
_pseudo = 'configs/baselines/mini_gta2cs_tiny_pseudo_labelling.py'
_camix = 'configs/camix/mini_gta2cs_tiny.py'
rows = [
    dict(name='Source only, short', config='configs/source_only/mini_gta2cs_tiny.py', seeds=1, options=_short),
    dict(name='DACS, learning rate x 10', config=_dacs, seeds=1, options={
        **_short, 'optim_wrapper.optimizer.lr': 5e-2}),
    dict(name='DACS, learning rate x 100', config=_dacs, seeds=1, options={
        **_short, 'optim_wrapper.optimizer.lr': 5e-1}),
    dict(name='Pseudo-labelling, learning rate x 10', config=_pseudo, seeds=1, options={
        **_short, 'optim_wrapper.optimizer.lr': 5e-2}),
    dict(name='DACS, source loss x 0.01', config=_dacs, seeds=1, options={
        **_short, 'model.objectives.source.weight': 0.01}),
    dict(name='Pseudo-labelling, source loss x 0.01', config=_pseudo, seeds=1, options={
        **_short, 'model.objectives.source.weight': 0.01}),
    dict(name='Pseudo-labelling, no source loss', config=_pseudo, seeds=1, options={
        **_short, 'model.objectives.source.weight': 0.0}),
    dict(name='DACS, target of another world', config=_dacs, seeds=1, options={
        **_short, 'train_dataloader.dataset.target.data_prefix.img_path': '../synthia/RGB',
        'train_dataloader.dataset.target.img_suffix': '.png'}),
    dict(name='DACS, teacher too slow', config=_dacs, seeds=1, options={**_short, 'model.teacher.alpha': 0.9999}),
    dict(name='DACS, short', config=_dacs, seeds=1, options=_short),
    dict(name='CAMix, shuffled prior', config=_camix, seeds=1, options={
        **_short, 'model.masks.context.prior': 'data/mini/priors/shuffled.npz'}),
    dict(name='CAMix, short', config=_camix, seeds=1, options=_short),
]
