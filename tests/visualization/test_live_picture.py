"""The live view shows what the step made, each thing in its place."""

import numpy as np
import pytest

from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from mmseg_camix.engine.hooks.step_tap import StepTap
from mmseg_camix.visualization import sheets
from mmseg_camix.visualization.live_picture import Layout, Panel, compose, panels_of
from tests.models import dsp_tiny, tiny

VIEWS = {
    'SourceOnly': [], 'PseudoLabelling': ['strong'], 'MeanTeacher': ['strong'], 'NaiveClassMix': ['mixed'],
    'CutMix': ['mixed'], 'CowMix': ['mixed'], 'DACS': ['mixed'], 'iDACS': ['mixed'], 'CAMix': ['mixed'],
    'DSP': ['mixed_source', 'mixed_target'], 'RCCR': ['mixed', 'cut'], 'DAFormer': ['mixed'], 'iDAFormer': ['mixed'],
    'MIC': ['mixed', 'masked']}


def finished_step(method, **arguments):
    if method.endswith('DAFormer'):
        arguments = dict(pseudo_labels=dict(ignore_top=1, ignore_bottom=2), objectives=dict(features=dict(things=None)))
    model = tiny.method(method, **arguments)
    tap = StepTap()
    tap.attach(model)
    tap.request()
    data = dsp_tiny.batch_of(0, 32, 2)
    tiny.losses_of(model, {branch: data[branch] for branch in model.branches})
    return model, tap.take()


@pytest.mark.parametrize('method', VIEWS)
def test_every_method_has_a_picture(method):
    """A row per view, source and target first, each with its image in the first column, right of its name."""
    model, step = finished_step(method)
    panels = panels_of(step, model, PALETTE, 2)
    assert [panel.name for panel in panels] == ['source', 'target', *VIEWS[method]]
    layout = Layout.of(panels, 32)
    picture = compose(panels, method, 'iteration 1 of 2', CLASSES, PALETTE, 32)
    for row, panel in enumerate(panels):
        for index in range(2):
            x, y = layout.corner(index, 0, row)
            tile, expected = picture[y:y + 32, x:x + 32], panel.images[index]
            if panel.regions is not None:
                expected = sheets.outline(expected, panel.regions[index])
            assert np.array_equal(tile, expected)
        assert (picture[y:y + 32, layout.left - 6:layout.left - 1] == 255).all(), 'the name runs into the first tile'


def test_panels_hold_the_steps_tensors():
    model, step = finished_step('CAMix', pseudo_labels=dict(threshold=0.25, significance=dict(passes=2, beta=0.9)))
    source, target, mixed = panels_of(step, model, PALETTE, 2)
    view = step.views['mixed'].target
    assert 0 < float(step.views['target'].target.weight.max()) < 1
    for index in range(2):
        expected = sheets.denormalise(step.views['mixed'].image[index], model.data_preprocessor)
        assert np.array_equal(mixed.images[index], expected)
        assert np.array_equal(mixed.regions[index], step.masks['context'][index, 0].numpy())
        assert np.array_equal(mixed.weights[index], view.weight[index].numpy())
        assert np.array_equal(mixed.significance[index], view.significance[index].numpy() == 1)
        label = step.views['source'].target.label[index]
        for y, x in ((0, 0), (5, 9), (31, 30)):
            colour = (0, 0, 0) if label[y, x] == 255 else tuple(PALETTE[label[y, x]])
            assert tuple(source.labels[index][y, x]) == colour
    assert source.significance is None
    assert (source.weights[0] == 1).all()
    assert target.notes == ('pseudo-labels', f'q = {float(step.statistics["pseudo/q"]):.2f}')
    assert mixed.notes == ('target over', 'source')
    assert mixed.classes == set(view.label.unique().tolist()) - {255}


def test_a_soft_paste_mixes_the_colours_of_its_labels():
    model, step = finished_step('DSP')
    panel = panels_of(step, model, PALETTE, 2)[3]
    first, second = step.views['mixed_target'].targets[0], step.views['mixed_target'].targets[-1]
    mask = step.masks['patch'][:, 0]
    b, y, x = (mask & (first.label != 255) & (second.label != 255)).nonzero()[0].tolist()
    pasted, below = (np.array(PALETTE[target.label[b, y, x]]) for target in (first, second))
    assert panel.labels[b][y, x] == pytest.approx(0.8 * pasted + 0.2 * below, abs=1)
    assert panel.weights[b][y, x] == pytest.approx(1)


def test_weights_include_the_factor_of_the_whole_view():
    model, step = finished_step('DACS', pseudo_labels=dict(threshold=0.25, per='image', scope='view'))
    scale = step.views['mixed'].scale.flatten()
    assert 0 < float(scale.max()) < 1
    mixed = panels_of(step, model, PALETTE, 2)[2]
    assert [float(weight.max()) for weight in mixed.weights] == pytest.approx(scale.tolist())


def test_each_tile_shows_its_kind_of_data():
    """The image, labels in their colour, weights from light to dark, red where pixels are dropped."""
    left = np.arange(8)[None].repeat(8, 0) < 4
    grey, weight = np.full((8, 8, 3), 90, np.uint8), np.ones((8, 8))
    panels = [Panel('source', ('ground truth',), [grey], None, [np.full((8, 8, 3), (1, 2, 3), np.uint8)],
                    [weight], None, frozenset({0})),
              Panel('mixed', (), [grey], [left], [np.full((8, 8, 3), (4, 5, 6), np.uint8)], [0 * weight], [left])]
    picture, layout = compose(panels, 'X', '', CLASSES, PALETTE, 40), Layout.of(panels, 40)
    assert layout.kinds == ('image', 'labels', 'weight', 'significance')

    def at(column, row, dx):
        x, y = layout.corner(0, column, row)
        return picture[y + 20, x + dx].tolist()

    assert at(0, 0, 20) == [90] * 3
    assert at(1, 0, 20) == [1, 2, 3]
    assert at(1, 1, 20) == [4, 5, 6]
    assert sum(at(2, 0, 20)) < 300
    assert sum(at(2, 1, 20)) > 700
    assert at(3, 0, 20) == [255] * 3, 'a view without significance has no tile'
    assert at(3, 1, 10) == [90] * 3
    assert at(3, 1, 30) == [181, 70, 70]
    assert at(0, 1, 20) == [255] * 3, 'the outline of the pasted region'
    assert at(0, 1, 15) == at(0, 1, 25) == [90] * 3
    assert at(0, 1, 0) == [90] * 3, 'no outline along the border of the image'


def test_long_text_widens_the_picture():
    panels = [Panel('a_view_with_a_very_long_name', (), [np.zeros((4, 4, 3), np.uint8)])]
    wide = compose(panels, 'X', 'fact ' * 40, CLASSES, PALETTE, 32)
    assert wide.shape[1] > 900
    assert (wide[:, 2 - sheets.MARGIN:] == 255).all()
    assert Layout.of(panels, 32).left > 200
