# DSP as published, on the miniature benchmark. It has two further branches: template images (`donor`) and patches of
# long-tail classes (`rare`). The classes are counted when training starts; for a large data set, count them once with
# mmseg-camix stats and set `stats`.
_base_ = [
    '../_base_/models/resnet_mini.py',
    '../_base_/datasets/mini_gta2cs.py',
    '../_base_/schedules/mini.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        donor=_base_.train_dataloader.dataset.source,
        rare=dict(
            type='LongTailDataset',
            classes=5,  # the K least frequent
            k=2,
            # The source, with crops that contain the drawn class.
            dataset=dict(_base_.train_dataloader.dataset.source, pipeline=[
                dict(type='CropWithClass', crop_size=_base_.crop_size) if step.type == 'RecordedRandomCrop' else step
                for step in _base_.train_dataloader.dataset.source.pipeline]))))
model = dict(
    _delete_=True,
    type='DSP',
    segmentor=_base_.model,
    # Stride 8, as in the paper's network; the last map has only 3x3 cells.
    objectives=dict(align_patch=dict(features=1), align_global=dict(features=1)))
