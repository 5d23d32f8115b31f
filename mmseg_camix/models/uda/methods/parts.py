"""Entries that the tables of several methods share."""


def supervised() -> dict[str, object]:
    """L_seg: the segmentor's own losses on the source."""
    return dict(type='SupervisedLoss', view='source')


def consistency(view: str) -> dict[str, object]:
    """Cross-entropy with the (mixed) pseudo-labels, mean over all pixels."""
    return dict(type='PixelCrossEntropy', view=view)


Table = dict[str, object]


def family(masks: Table, views: Table, objectives: Table, **others: object) -> Table:
    """The settings that the DACS family has in common: teacher, pseudo-labels, augmentation.

    alpha .99; confidence .968; colour jitter .25 with probability .8, blur with probability .5.
    """
    shared = dict(
        pseudo_labels=dict(type='PseudoLabels', threshold=0.968, per='batch', scope='target'),
        teacher=dict(alpha=0.99, norm='batch'),
        augment=dict(jitter=0.25, jitter_probability=0.8, blur_probability=0.5, blur_sigma=(0.15, 1.15)))
    return {**shared, 'masks': masks, 'views': views, 'objectives': objectives, **others}
