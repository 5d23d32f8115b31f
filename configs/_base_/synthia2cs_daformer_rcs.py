# The same with rare-class sampling of the source. Count its classes first:
#   python tools/dataset/class_stats.py synthia data/synthia
_base_ = './synthia2cs_daformer.py'
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            stats=_base_.data_root + '/synthia/sample_class_stats.json',
            temperature=0.01,
            min_pixels=3000,
            crop_share=0.5,
            dataset=_base_.train_dataloader.dataset.source)))
