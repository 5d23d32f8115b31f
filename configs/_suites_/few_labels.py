# How far 5, 20 and 60 labels of the target carry, with and without adaptation, from drawings to photographs; run by
# benchmarks/methods.py (docs/real_photographs.md). Drawings: see drawn2camvid.py, whose results are shared.
title = 'Drawn streets -> CamVid, with a few target labels'
page = 'real_photographs.md'
data_root = 'data/camvid'
_oracle = 'configs/source_only/drawn2camvid_lite_oracle.py'
_dataset = 'train_dataloader.dataset.'
rows = [
    dict(name='Source only', config='configs/source_only/drawn2camvid_lite.py'),
    dict(name='Oracle', config=_oracle),
    dict(name='DACS', config='configs/dacs/drawn2camvid_lite.py'),
    *(dict(name=f'{name}{number} labels', config=config, options={_dataset + f'{branch}.spread': number})
      for number in (5, 20, 60) for name, config, branch in (
          ('DACS + ', 'configs/dacs/drawn2camvid_lite_few.py', 'few'),
          ('Source + ', 'configs/source_only/drawn2camvid_lite_few.py', 'few'),
          ('Only ', _oracle, 'source'))),
]
