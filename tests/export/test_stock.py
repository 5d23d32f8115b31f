"""Exports in stock mmseg, in a process that cannot import this package."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from tests.datasets.tiny import write_image
from tests.export import networks
from tests.export.networks import labels_by_mmseg, trained
from tests.tools_runner import call

pytestmark = pytest.mark.slow

SIZE = (40, 56)
NETWORKS = dict(deeplab=networks.deeplab, segformer=networks.segformer, resnet_mini=networks.resnet_mini)
CASES = [(name, network) for name in NETWORKS for network in ('student', 'teacher')]
# Ours and mmseg's attention are the same up to rounding: ours does not hand out its weights.
OURS_AS_STOCK = 'our MiT'


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """(models of ours, an image file, results of stock mmseg)."""
    root = tmp_path_factory.mktemp('stock')
    write_image(root / 'image.png', 5, (48, 64))
    builders = {**NETWORKS, OURS_AS_STOCK: lambda: networks.segformer(dict(type='MiT', variant='b0'))}
    models, exports = {}, []
    for name, segmentor in builders.items():
        folder = root / name.replace(' ', '_')
        checkpoint, models[name] = trained(folder, segmentor())
        for network in ('student', 'teacher') if name in NETWORKS else ('teacher',):
            out = folder / network
            assert call('export.py', checkpoint, '--out', out, *(['--student'] if network == 'student' else [])) == 0
            exports.append(dict(name=f'{name}/{network}', folder=str(out), image=str(root / 'image.png'), size=SIZE,
                                inferencer=network == 'teacher'))
    (root / 'jobs.json').write_text(json.dumps(dict(exports=exports, threads=torch.get_num_threads())))
    done = subprocess.run([sys.executable, Path(__file__).with_name('stock_mmseg.py'), root / 'jobs.json',
                           root / 'results.npz'], capture_output=True, text=True, cwd=root, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return models, root, dict(np.load(root / 'results.npz'))


def logits(model, network):
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model.network(network)(image)


@pytest.mark.parametrize(('name', 'network'), CASES)
def test_logits_are_identical(exported, name, network):
    models, _, results = exported
    expected = logits(models[name], network).numpy()
    assert expected.std((2, 3)).min() > 1e-3
    np.testing.assert_array_equal(results[f'{name}/{network}/logits'], expected)


@pytest.mark.parametrize('name', NETWORKS)
def test_student_and_teacher_are_not_the_same(exported, name):
    results = exported[2]
    assert np.abs(results[f'{name}/student/logits'] - results[f'{name}/teacher/logits']).max() > 1e-3


def test_our_encoder_as_that_of_mmseg(exported):
    models, _, results = exported
    expected = logits(models[OURS_AS_STOCK], 'teacher').numpy()
    np.testing.assert_allclose(results[f'{OURS_AS_STOCK}/teacher/logits'], expected, rtol=1e-4,
                               atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(('name', 'network'), CASES)
def test_predictions_on_a_file(exported, name, network):
    models, root, results = exported
    expected = labels_by_mmseg(models[name].network(network), root / 'image.png')
    assert expected.shape == (48, 64)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(results[f'{name}/{network}/inference_model'], expected)
    if network == 'teacher':
        np.testing.assert_array_equal(results[f'{name}/{network}/inferencer'], expected)
        assert results[f'{name}/{network}/picture'].shape == (48, 64, 3)


def test_classes_and_colours_come_along(exported):
    results = exported[2]
    assert tuple(results['deeplab/teacher/classes']) == CLASSES
    assert results['deeplab/teacher/palette'].tolist() == PALETTE
