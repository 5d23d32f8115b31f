# CAMix on DAFormer on photographs, drawn streets -> CamVid: rare-class sampling and feature distance as in
# ../daformer/drawn2camvid_lite.py, CAMix's mixing as in drawn2camvid_lite.py, which also builds the prior.
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/drawn2camvid.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            temperature=0.01,
            min_pixels=750,  # DAFormer's 3000 of 1280x720 pixels, scaled to drawings of 640x360
            crop_share=0.375,  # share of them in a crop: half, after the resize to 480x360
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    acceleration=_base_.acceleration,
    masks=dict(context=dict(
        prior='data/priors/drawn.npz', groups=[('pole', 'sign'), ('pedestrian', 'bicyclist')])),
    objectives=dict(features=dict(type='FeatureDistance', things=['sign', 'car', 'pedestrian', 'bicyclist'], index=2)),
    pseudo_labels=dict(significance=dict(passes=3, reuse_clean=True)))
