# DSP and the rows of its paper's Tables 3, 4 and 5; run by benchmarks/methods.py. The three
# rows of pastes share one patch (k = 2), so that each differs from the next in one thing. The plot shows
# the three rows of the paper's Fig. 5.
title = 'DSP and its parts, miniature GTA -> Cityscapes'
_once = dict(seeds=1, curve=False)  # ablations
_dsp = 'configs/dsp/mini_gta2cs_tiny.py'
_no_alignment = {'model.objectives.align_patch': None, 'model.objectives.align_global': None}
_hard_target = {**_no_alignment, 'model.views.mixed_target.opacity': 1.0}
_hard_rare = {  # the long-tail classes hard, over a soft paste of the template's classes
    'model.masks.patch.type': 'ClassMask', 'model.masks.patch.of': 'donor', 'model.views.patch': None,
    **{f'model.views.{view}_{domain}.{key}': value for domain in ('source', 'target') for view, arguments in {
        'soft': dict(type='Paste', donor='donor', over=domain, mask='patch', opacity=0.8, augment=False),
        'mixed': dict(donor='rare', over=f'soft_{domain}', mask='rare', opacity=1.0)}.items()
       for key, value in arguments.items()}}
rows = [
    dict(name='Source only', config='configs/source_only/mini_gta2cs_tiny.py', source_val=True, curve=False),
    dict(name='DACS', config='configs/dacs/mini_gta2cs_tiny.py'),
    dict(name='DSP', config=_dsp),
    # Table 3
    dict(name='Single hard paste', config=_dsp, **_once, options={
        **_hard_target, 'model.views.mixed_source': None, 'model.objectives.mixed_source': None}),
    dict(name='Dual hard paste', config=_dsp, options={**_hard_target, 'model.views.mixed_source.opacity': 1.0}),
    dict(name='Dual soft paste, no feature alignment', config=_dsp, **_once, options=_no_alignment),
    # Table 4
    *[dict(name=f'DSP, beta = {beta}', config=_dsp, **_once, options={
        f'model.views.mixed_{domain}.opacity': beta for domain in ('source', 'target')})
      for beta in (0.0, 0.5, 0.6, 0.7, 0.9, 1.0)],
    # Table 5
    *[dict(name=f'DSP, k = {k}', config=_dsp, **_once, options={'train_dataloader.dataset.rare.k': k})
      for k in (0, 1, 3)],
    # The cost and the effect of one pass for both mixed images
    dict(name='DSP, one pass for each mixed image', config=_dsp, **_once, options={'model.joint_views': []}),
    # The released code, and one of its differences by itself; its opacity is the row beta = 0.9, its k the row k = 1
    dict(name='DSP, long-tail classes pasted hard', config=_dsp, **_once, options=_hard_rare),
    dict(name='DSP, released code', config='configs/dsp/mini_gta2cs_tiny_official.py', **_once),
]
