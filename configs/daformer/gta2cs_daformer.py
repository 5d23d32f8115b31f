# DAFormer, GTA -> Cityscapes: 40k iterations of 2 + 2 images.
_base_ = [
    '../_base_/models/daformer_mitb5.py',
    '../_base_/datasets/gta2cs_512_flip.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/gta/sample_class_stats.json',
            temperature=0.01,
            min_pixels=3000,
            crop_share=0.5,
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(_delete_=True, type='DAFormer', segmentor=_base_.model)
