# What DSP's released code computes, for configs/dsp/*_official.py. It differs from the paper in the following:
#   - one long-tail class, pasted hard and drawn separately for each of the two images (branch `rare_target`), over a
#     soft paste of opacity .9;
#   - on the source, each pixel has two labels: that of the hard pastes with weight .9, and the source's with weight .1;
#   - on the target, only the label of the hard pastes, with weight .9 within the template's classes and .9 q elsewhere,
#     also on pixels of the long-tail class;
#   - one averaged feature per image, and the first image's mask for all images.
# Not followed: its features come from an extra layer that is never trained; all images of a batch get the same
# long-tail class.
dsp_released = dict(
    branches=('source', 'target', 'donor', 'rare', 'rare_target'),
    joint_views=(),
    masks=dict(
        rare_target=dict(type='LabelledMask', of='rare_target'),
        patch=dict(_delete_=True, type='ClassMask', of='donor', count_ignore=True)),
    views=dict(
        patch=None,
        soft_source=dict(
            type='Paste', donor='donor', over='source', mask='patch', opacity=0.9, augment=False,
            recipient_term='everywhere'),
        soft_target=dict(
            type='Paste', donor='donor', over='target', mask='patch', opacity=0.9, augment=False,
            recipient_term=False),
        mixed_source=dict(
            _delete_=True, type='Paste', donor='rare', over='soft_source', mask='rare', keep_weight=True),
        mixed_target=dict(
            _delete_=True, type='Paste', donor='rare_target', over='soft_target', mask='rare_target',
            keep_weight=True)),
    pseudo_labels=dict(weighted=True))
