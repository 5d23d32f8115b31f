# As mini_gta2cs_tiny_official.py, with the lengths of the SYNTHIA script.
_base_ = './mini_synthia2cs_tiny.py'
model = dict(
    masks=dict(context=dict(groups=['I', 'II-one-way']), classes=dict(count_ignore=True)),
    views=dict(mixed=dict(at=192)),  # 40k of 250k iterations
    objectives=dict(mixed=dict(type='PixelCrossEntropy', view='mixed')),
    pseudo_labels=dict(significance=dict(
        form='official', bound='classes', t_max=48,  # 10k of 250k iterations
        noise=0.1 / 57.6, clamp=0.2 / 57.6)),
    predict_with='student')
