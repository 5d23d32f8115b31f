# DSP with the network and schedule of DAFormer, and none of its other parts. Count the source's classes first:
#   mmseg-camix stats gta data/gta
# It aligns the features of stride 8, as in the paper's DeepLabV2: the second of four maps. For the last map, 512
# channels of stride 32: model.objectives.align_patch.features=3 model.objectives.align_global.features=3
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/gta2cs_512_flip.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        donor=_base_.train_dataloader.dataset.source,
        rare=dict(
            type='LongTailDataset',
            classes=('rider', 'bus', 'train', 'motorcycle', 'bicycle'),
            k=2,
            stats=_base_.data_root + '/gta/sample_class_stats.json',
            # The source, with crops that contain the drawn class.
            dataset=dict(_base_.train_dataloader.dataset.source, pipeline=[
                dict(type='CropWithClass', crop_size=_base_.crop_size) if step.type == 'RecordedRandomCrop' else step
                for step in _base_.train_dataloader.dataset.source.pipeline]))))
model = dict(
    _delete_=True,
    type='DSP',
    segmentor=_base_.model,
    objectives=dict(align_patch=dict(features=1), align_global=dict(features=1)))
