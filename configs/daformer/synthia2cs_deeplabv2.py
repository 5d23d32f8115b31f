# DAFormer with DeepLabV2: its rare-class sampling, losses and teacher; network, optimiser and data of the DACS family.
# Count first: mmseg-camix stats synthia data/synthia
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/synthia2cs_512.py',
    '../_base_/schedules/sgd_250k.py',
    '../_base_/default_runtime.py',
    '../_base_/uda.py',
]
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/synthia/sample_class_stats.json',
            dataset=_base_.train_dataloader.dataset.source)))
model = dict(_delete_=True, type='DAFormer', segmentor=_base_.model)
