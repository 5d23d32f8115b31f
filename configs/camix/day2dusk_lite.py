# CAMix on photographs, CamVid by day -> dusk, as published, except that the significance is measured with
# three passes of the teacher, one of them the clean one, instead of eight. Build its prior first:
#   mmseg-camix prior configs/camix/day2dusk_lite.py --out data/priors/camvid_day.npz
_base_ = [
    '../_base_/models/lite_segformer.py',
    '../_base_/datasets/day2dusk.py',
    '../_base_/schedules/adamw_600.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
model = dict(
    _delete_=True,
    type='CAMix',
    segmentor=_base_.model,
    acceleration=_base_.acceleration,
    # Table I's groups I and II in the eleven classes, where traffic lights are signs and motorcycles bicyclists.
    masks=dict(context=dict(
        prior='data/priors/camvid_day.npz', groups=[('pole', 'sign'), ('pedestrian', 'bicyclist')])),
    pseudo_labels=dict(significance=dict(passes=3, reuse_clean=True)))
