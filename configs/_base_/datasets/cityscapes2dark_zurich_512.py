# Cityscapes -> Dark Zurich: target are the night images of its training split, evaluated on the 50 validation images.
_base_ = './cityscapes2acdc_512.py'
train_dataloader = dict(
    dataset=dict(
        target=dict(
            _delete_=True,
            type='RawDarkZurichDataset',
            data_root=_base_.data_root + '/dark_zurich',
            pipeline=_base_.target_pipeline)))
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RawDarkZurichDataset',
        data_root=_base_.data_root + '/dark_zurich',
        data_prefix=dict(img_path='rgb_anon/val/night', seg_map_path='gt/val/night'),
        test_mode=True,
        pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
