"""The papers' numbers: each row against its own printed mean, and the rows that results are compared with."""

import pytest
import torch
from mmengine.config import Config

from mmseg_camix.evaluation import SubsetIoUMetric
from mmseg_camix.evaluation.reported import find_row, papers, rows, tables, trained_row
from tests.tools_runner import ROOT

# Rows whose printed mean is not that of their classes: number of classes, printed, mean of the row.
DISAGREE = {
    'camix-iccv-synthia-source': (13, 29.5, 33.66),
    'rccr-synthia-source': (13, 29.5, 33.66),
    'dsp-gta-quoted-dacs': (19, 52.1, 52.63),
    'dsp-synthia': (13, 63.8, 59.92),
}
WITH_CLASSES = [row for row in rows().values() if row.IoU]


def areas(per_class):
    """The areas of one image whose classes have these IoU in percent."""
    intersection = torch.tensor(list(per_class), dtype=torch.double)
    union = torch.full_like(intersection, 100)
    return intersection, union, union, union


def metric_over(row):
    metric = SubsetIoUMetric(subsets=dict(mIoU16='synthia16', mIoU13='synthia13') if len(row.IoU) > 13 else {})
    metric.dataset_meta = dict(classes=row.classes)
    return metric.compute_metrics([areas(row.IoU)])


@pytest.mark.parametrize('row', WITH_CLASSES, ids=lambda row: row.id)
def test_the_mean_of_a_row_is_the_printed_one(row):
    for size, printed in row.mIoU.items():
        mean = row.recomputed(size)
        if (row.id, size) in {(name, entry[0]) for name, entry in DISAGREE.items()}:
            assert (size, printed, round(mean, 2)) == DISAGREE[row.id]
        else:
            assert mean == pytest.approx(printed, abs=0.1), 'classes are printed with one decimal or two'
        key = 'mIoU' if size == len(row.IoU) else f'mIoU{size}'
        assert metric_over(row)[key] == pytest.approx(mean, abs=0.006)


@pytest.mark.parametrize(('name', 'means'), [
    ('dacs-gta-source', {19: 32.85}), ('dacs-synthia-source', {16: 29.45, 13: 33.65}), ('dacs-gta', {19: 52.14}),
    ('dacs-gta-best', {19: 53.84}), ('dacs-synthia-best', {16: 49.10, 13: 55.98}),
    ('camix-gta-deeplabv2', {19: 55.2}), ('camix-synthia-deeplabv2', {13: 59.7}), ('rccr-gta', {19: 53.5}),
    ('rccr-synthia', {13: 56.8}), ('dsp-gta', {19: 55.0}), ('dsp-synthia', {16: 51.0, 13: 63.8}),
    ('daformer-gta', {19: 68.3}), ('daformer-synthia', {13: 67.4}), ('camix-gta-daformer', {19: 70.0}),
    ('camix-synthia-daformer', {13: 69.2}), ('dacs-gta-pseudo-labelling', {19: 22.97}),
    ('dacs-gta-distribution-alignment', {19: 48.04}), ('camix-iccv-4-sp-cr', {19: 54.1}),
    ('dsp-gta-beta-0.6', {19: 52.2}), ('dsp-gta-k-3', {19: 53.7}), ('rccr-synthia-nsc', {13: 56.0}),
    ('mic-gta-daformer', {19: 70.6}), ('vfm-uda-gta-large', {19: 79.8}),
    ('hrda-gta', {19: 73.8}), ('hrda-synthia', {16: 65.8}), ('hrda-synthia-quoted-daformer', {16: 60.9}),
    ('hrda-gta-deeplabv2', {19: 63.0}), ('mic-gta-hrda', {19: 75.9}), ('mic-synthia-hrda', {16: 67.3}),
    ('mic-gta-hrda-deeplabv2', {19: 64.2})])
def test_golden_means(name, means):
    assert rows()[name].mIoU == means


def test_every_paper_is_there():
    names = {'DACS', 'CAMix', 'CAMix-ICCV', 'RCCR', 'DSP', 'MIC', 'HRDA', 'VFM-UDA++'}
    assert {row.paper for row in rows().values()} == set(papers()) == names
    assert len(rows()) == sum(len(table) for table in tables())


@pytest.mark.parametrize('row', rows().values(), ids=lambda row: row.id)
def test_rows_have_a_config(row):
    assert bool(row.of) != bool(row.config)
    root = trained_row(row)
    assert not root.of
    assert (root.source, root.network) == (row.source, row.network)
    assert (ROOT / root.config).is_file()
    assert f'{row.source}2cs' in root.config
    assert ('deeplabv2' in root.config.rsplit('/', 1)[1]) == (row.network == 'DeepLabV2, ResNet-101')
    if row.best_of:
        best = rows()[row.best_of]
        assert (best.config, best.options) == (row.config, row.options)
    if row.method:
        assert Config.fromfile(ROOT / row.config).model.type == row.method


def test_no_two_rows_are_the_same_training():
    """A repeated row refers to the first by `of`, so one result fills all of its cells."""
    trainings = [(row.config, tuple(map(str, row.options.items()))) for row in rows().values()
                 if not row.of and not row.best_of]
    assert len(set(trainings)) == len(trainings)


def test_finding_a_row():
    assert find_row('camix-gta-sp', 'anything.py').id == 'camix-gta-sp'
    for method in ('CAMix', 'camix'):
        assert find_row(method, 'configs/camix/gta2cs_deeplabv2.py').id == 'camix-gta-deeplabv2'
        assert find_row(method, '/elsewhere/configs/camix/synthia2cs_daformer.py').id == 'camix-synthia-daformer'
    assert find_row('DAFormer', 'configs/daformer/gta2cs_daformer.py').id == 'daformer-gta'
    # Variants of a config are compared with the row of the same source and network.
    assert find_row('CAMix', 'configs/camix/mini_gta2cs_tiny.py').id == 'camix-gta-deeplabv2'
    assert find_row('CAMix', 'configs/camix/mini_synthia2cs_tiny_daformer.py').id == 'camix-synthia-daformer'
    assert find_row('DAFormer', 'configs/daformer/mini_gta2cs_tiny.py').id == 'daformer-gta'
    assert find_row('DSP', 'configs/dsp/synthia2cs_deeplabv2_official.py').id == 'dsp-synthia'
    with pytest.raises(ValueError, match='no paper reports .CaMixx.; give a method .CAMix, DACS, DAFormer'):
        find_row('CaMixx', 'x.py')
    with pytest.raises(ValueError, match=r'config of none of them; give one of these ids: camix-gta-deeplabv2 \(gta'):
        find_row('CAMix', 'mine.py')
