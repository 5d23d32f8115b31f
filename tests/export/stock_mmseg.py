"""Load exports with mmseg alone. A program: FILE with what to do (JSON), FILE for the results (npz).

This package is blocked. With mmcv-lite, the functions that mmseg imports from compiled ops are missing; they
are lent to it as functions that do nothing.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

sys.modules['mmseg_camix'] = None  # importing it fails


class Nothing(ModuleType):
    """A module with every attribute except those that Python itself looks up."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


if importlib.util.find_spec('mmcv._ext') is None:
    sys.modules['mmcv._ext'] = Nothing('mmcv._ext')
    importlib.import_module('mmcv.ops')
    del sys.modules['mmcv._ext']  # mmengine looks for it, to choose a SyncBN

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmseg.apis import MMSegInferencer, inference_model, init_model  # noqa: E402


def results(job: dict) -> dict[str, np.ndarray]:
    """Logits of a random image, and predictions on a file by both of mmseg's ways."""
    model = init_model(f'{job["folder"]}/config.py', f'{job["folder"]}/model.pth', device='cpu')
    image = torch.randn(1, 3, *job['size'], generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        outputs = dict(logits=model(image).numpy(), classes=np.array(model.dataset_meta['classes']),
                     palette=np.array(model.dataset_meta['palette']))
    outputs['inference_model'] = inference_model(model, job['image']).pred_sem_seg.data[0].numpy()
    if not job['inferencer']:
        return outputs
    inferencer = MMSegInferencer(f'{job["folder"]}/config.py', f'{job["folder"]}/model.pth', device='cpu')
    inferencer.show_progress = False
    result = inferencer(job['image'], return_vis=True)
    return {**outputs, 'inferencer': result['predictions'], 'picture': result['visualization']}


def main() -> None:
    jobs = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(jobs['threads'])
    arrays = {f'{job["name"]}/{key}': value for job in jobs['exports'] for key, value in results(job).items()}
    assert not any(name.startswith('mmseg_camix') and module for name, module in sys.modules.items())
    np.savez(sys.argv[2], **arrays)


if __name__ == '__main__':
    main()
