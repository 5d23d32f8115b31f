# The main rows on photographs with five seeds, for an accelerator; run by benchmarks/accelerator.py --photographs.
title = 'Main rows, CamVid, day -> dusk'
page = 'real_photographs.md'
data_root = 'data/camvid'
rows = [
    dict(name=name, config=f'configs/{config}', seeds=5)
    for name, config in (('Source only', 'source_only/day2dusk_lite.py'),
                         ('Oracle', 'source_only/day2dusk_lite_oracle.py'), ('DACS', 'dacs/day2dusk_lite.py'),
                         ('CAMix', 'camix/day2dusk_lite.py'), ('DAFormer', 'daformer/day2dusk_lite.py'),
                         ('MIC', 'mic/day2dusk_lite.py'))]
