"""docs/own_data.md, done as it says: its config and its commands on two tiny sets with five classes."""

import ast
import re
import shlex
import textwrap

import cv2
import numpy as np
import pytest
from mmengine.runner import Runner

from mmseg_camix.engine.config import complete_for_adaptation, load_config
from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix.models.context_mask import ContextMask
from mmseg_camix.spatial_prior import load_spatial_prior
from tests.datasets.tiny import write_grey_label
from tests.tools_runner import ROOT, call

PAGE = (ROOT / 'docs/own_data.md').read_text()
CLASSES = ('ground', 'grass', 'tree', 'house', 'sky')
COLOURS = np.array([(90, 90, 100), (60, 160, 60), (30, 80, 30), (60, 60, 170), (220, 180, 140)])
HEIGHT, WIDTH, CROP = 48, 80, 32


def block(kind, number=0):
    """A block of code of the page."""
    return re.findall(rf'```{kind}\n(.*?)```', PAGE, re.S)[number]


def scene(rng):
    """(H, W) classes: sky above, houses and trees before it, grass and ground below."""
    label = np.full((HEIGHT, WIDTH), 4)
    label[28:] = 1
    label[38:] = 0
    for kind in (2, 3, 2, 3):
        x, y = rng.randint(WIDTH - 14), rng.randint(8, 18)
        label[y:32, x:x + rng.randint(8, 14)] = kind
    return label


def write_set(root, count, seed, tint, labelled=True):
    rng = np.random.RandomState(seed)
    for index in range(count):
        label = scene(rng)
        image = COLOURS[label] + np.array(tint) + rng.randint(-12, 13, (HEIGHT, WIDTH, 3))
        (root / 'images').mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / f'images/{index}.jpg'), image.clip(0, 255).astype(np.uint8))
        if labelled:
            numbers = np.array([1, 2, 3, 4 + index % 2, 10])[label]
            numbers[0, :3] = 255
            write_grey_label(root / f'labels/{index}.png', numbers)


# The page's config with small images, crops and steps, and random weights.
SMALL = {
    'train_cfg.max_iters': 3, 'train_cfg.val_interval': 3, 'train_dataloader.batch_size': 2,
    'model.segmentor.backbone.init_cfg': None, 'model.segmentor.data_preprocessor.size': (CROP, CROP),
    'model.segmentor.decode_head.embed_dims': 16, 'model.segmentor.decode_head.channels': 16,
    'model.pseudo_labels.significance.passes': 2, 'default_hooks.checkpoint.interval': 3, 'param_scheduler.0.end': 1,
    **{f'{phase}_dataloader.{key}': value for phase in ('train', 'val', 'test')
       for key, value in (('num_workers', 0), ('persistent_workers', False))},
    **{f'train_dataloader.dataset.{branch}.pipeline.{at}.{key}': value
       for branch, first in (('source', 2), ('target', 1))
       for at, key, value in ((first, 'scale', (4096, HEIGHT)), (first + 1, 'crop_size', (CROP, CROP)))},
    **{f'{phase}_dataloader.dataset.pipeline.1.scale': (4096, HEIGHT) for phase in ('val', 'test')},
}


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with the data, and configs/own.py as on the page."""
    root = tmp_path_factory.mktemp('own')
    write_set(root / 'data/simulator', 12, 0, (0, 0, 0))
    write_set(root / 'data/camera', 6, 1, (25, 10, -20), labelled=False)
    write_set(root / 'data/camera_val', 3, 2, (25, 10, -20))
    (root / 'configs').mkdir()
    (root / 'configs/own.py').write_text(block('python'))
    return root


@pytest.fixture(scope='module')
def adapted(place):
    """What the page's commands leave behind."""
    options = [f'{key}={value}' for key, value in SMALL.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for line in block('bash').splitlines():
            _, tool, *arguments = shlex.split(line.replace('iter_40000', 'iter_3'))
            extra = ['--workers', 0] if 'prior' in tool else ['--jobs', 1] if 'check' in tool else []
            assert call(tool, *arguments, *extra, '--cfg-options', *options) == 0, tool
        yield place


def test_the_config_is_a_dozen_lines():
    assert len(block('python').splitlines()) <= 13
    assert all(len(line) <= 120 for line in block('python').splitlines())


def test_results_are_over_the_five_classes(adapted):
    record = read_record(adapted / 'work_dirs/configs/own')
    for metrics in (record['val'][-1]['metrics'], record['test']):
        for network in ('student', 'teacher'):
            ious = {key.split('.')[1]: value for key, value in metrics.items() if key.startswith(f'{network}/IoU.')}
            assert tuple(ious) == CLASSES
            assert metrics[f'{network}/mIoU'] == pytest.approx(np.mean(list(ious.values())), abs=0.01)
            assert metrics[f'{network}/mIoU'] > 0
    lines = (adapted / 'work_dirs/own.md').read_text().splitlines()
    assert [line.split(' | ')[0][2:] for line in lines if line.startswith('| ')][2:] == list(CLASSES)


def test_the_prior_is_of_the_five_classes(adapted):
    prior = load_spatial_prior(str(adapted / 'data/priors/simulator.npz'), CLASSES)
    assert (prior.size, prior.num_images) == ((HEIGHT, WIDTH), 12)
    top, bottom = prior.counts[:, 0].sum(1), prior.counts[:, -1].sum(1)
    assert (top.argmax(), bottom.argmax()) == (CLASSES.index('sky'), CLASSES.index('ground'))
    assert prior.counts[CLASSES.index('house')].sum() > 0  # both of its numbers


def trained(place, name, options, **changes):
    """The model after one iteration with the page's config, changed."""
    cfg = load_config('configs/own.py', {**options, 'train_cfg.max_iters': 1, **changes}, str(place / name))
    cfg.experiment_name = f'{place.name}_{name}'
    complete_for_adaptation(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model


def pairs(mask):
    """Which class pulls which."""
    return {(CLASSES[i], CLASSES[j]) for i, j in mask.relations.nonzero().tolist() if i != j}


def test_custom_groups(adapted):
    groups = ast.literal_eval(re.search(r"\| `(\[\(.*?\])`", PAGE)[1])
    model = trained(adapted, 'groups', SMALL, **{'model.masks.context.groups': groups})
    assert pairs(model.masks['context']) == {
        ('tree', 'grass'), ('grass', 'tree'), ('house', 'ground'), ('ground', 'house')}
    metrics = read_record(adapted / 'groups')['val'][-1]['metrics']
    assert [key for key in metrics if key.startswith('student/IoU.')] == [f'student/IoU.{name}' for name in CLASSES]


def test_other_groups(adapted):
    def mask_of(groups):
        mask = ContextMask(prior='data/priors/simulator.npz', groups=groups)
        mask.prepare(dict(classes=CLASSES))  # as training does
        return mask

    assert pairs(mask_of([dict(tree=['grass'])])) == {('tree', 'grass')}
    assert mask_of('auto').relations.shape == (5, 5)
    assert mask_of(None).relations is None
    with pytest.raises(ValueError, match='ground'):
        mask_of([('pole', 'tree')])


def test_without_labels_of_the_target(adapted):
    names = re.search(r'`(val_dataloader = .*?) = None`', PAGE)[1].split(' = ')
    assert set(names) == {f'{phase}_{part}' for phase in ('val', 'test') for part in ('dataloader', 'evaluator', 'cfg')}
    options = {key: value for key, value in SMALL.items() if not key.startswith(('val_', 'test_'))}
    trained(adapted, 'unlabelled', options, **dict.fromkeys(names))


def test_the_conversion_of_colours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = np.array([[(128, 64, 128), (107, 142, 35)], [(0, 0, 0), (128, 64, 128)]], np.uint8)
    cv2.imwrite('colours.png', picture[..., ::-1])
    exec(textwrap.dedent(block('python', 1)), {})
    assert cv2.imread('label.png', cv2.IMREAD_UNCHANGED).tolist() == [[1, 2], [255, 1]]
