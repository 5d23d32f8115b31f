# The miniature benchmark's main rows with five seeds, for an accelerator; run by benchmarks/accelerator.py.
title = 'Main rows, miniature GTA -> Cityscapes'
rows = [
    dict(name=name, config=f'configs/{folder}/mini_gta2cs_tiny.py', seeds=5)
    for name, folder in (('Source only', 'source_only'), ('DACS', 'dacs'), ('CAMix', 'camix'), ('DSP', 'dsp'),
                         ('RCCR', 'rccr'), ('DACS + MIC', 'mic'))]
