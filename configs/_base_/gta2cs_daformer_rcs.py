# The same with rare-class sampling of the source. Count its classes first:
#   python tools/dataset/class_stats.py gta data/gta
_base_ = './gta2cs_daformer.py'
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
