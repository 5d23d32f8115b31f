# The same with rare-class sampling of the source; its classes are counted when training starts.
# DAFormer's 3000 pixels of a whole GTA image and 1500 of a crop are 48 and 53 at this scale.
_base_ = './mini_gta2cs_tiny.py'
train_dataloader = dict(
    dataset=dict(
        source=dict(
            _delete_=True,
            type='RareClassDataset',
            temperature=0.01,
            min_pixels=50,
            crop_share=1.0,
            dataset=_base_.train_dataloader.dataset.source)))
