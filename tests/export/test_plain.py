"""One network out of a training: which one, what is left out, and what the config keeps."""

import copy
import dataclasses
import sys

import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.registry import MODELS, TRANSFORMS

from mmseg_camix.checkpoint import read_checkpoint, save_checkpoint
from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from mmseg_camix.export import ExportError
from mmseg_camix.export.files import mmseg_config, open_network, write_mmseg, write_safetensors
from mmseg_camix.export.metainfo import dataset_meta
from mmseg_camix.export.plain import plain_network
from mmseg_camix.models import adapter
from mmseg_camix.weights import WeightsError
from tests.export import networks
from tests.export.networks import DATA, trained
from tests.models import tiny


@pytest.fixture(scope='module')
def deeplab(tmp_path_factory):
    """(checkpoint, model) of a DACS whose config has all that only training needs."""
    return trained(tmp_path_factory.mktemp('deeplab'), networks.deeplab())


def image(size=(40, 56)):
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def assert_same(network, ours, exactly=True):
    found, expected = (adapter.decode(model, model.extract_feat(image())) for model in (network.build(), ours))
    assert expected.std((2, 3)).min() > 0
    torch.testing.assert_close(found, expected, **(dict(rtol=0, atol=0) if exactly else {}))


@pytest.mark.parametrize(('choice', 'name'), [('teacher', 'teacher'), ('student', 'student'), ('tested', 'student')])
def test_which_network(deeplab, choice, name):
    path, model = deeplab
    network = open_network(path, choice=choice)
    assert network.name == name
    assert_same(network, model.network(name))
    assert network.origin == dict(method='DACS', tested='student', iteration=7, checkpoint='iter_7.pth')


def test_the_tested_network_of_a_config(deeplab):
    checkpoint = read_checkpoint(deeplab[0])
    for cfg, expected in ((dict(type='RCCR'), 'teacher'), (dict(type='RCCR', predict_with='student'), 'student'),
                          (dict(type='DACS', predict_with='teacher'), 'teacher')):
        cfg = Config(dict(model=dict(cfg, segmentor=networks.deeplab())))
        assert plain_network(checkpoint, cfg, 'tested').name == expected


def test_only_training_is_left_out(deeplab):
    config, foreign = mmseg_config(open_network(deeplab[0]))
    text = config.pretty_text
    assert not foreign
    for word in ('auxiliary', 'SyncBN', 'pretrained', 'init_cfg', 'sampler', 'custom_imports', 'mmseg_camix',
                 'IdLabels', 'PackUDA', 'class_weight', str(DATA), 'work_dir', 'optim', 'train_dataloader'):
        assert word not in text, word
    assert config.model.decode_head.norm_cfg.type == 'BN'
    assert config.test_pipeline == [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    assert config.test_dataloader.dataset.pipeline == config.test_pipeline
    assert config.test_dataloader.dataset.metainfo.classes == CLASSES
    assert not any(key.startswith(('auxiliary', 'student', 'teacher')) for key in open_network(deeplab[0]).state)


def test_the_files_of_an_export(deeplab, tmp_path):
    network = open_network(deeplab[0])
    report = write_mmseg(network, tmp_path)
    assert (report.difference, report.foreign, report.paths) == (0, {}, ())
    content = torch.load(tmp_path / 'model.pth', weights_only=True)
    assert content['meta']['dataset_meta'] == dict(classes=CLASSES, palette=PALETTE)
    assert content['meta']['network'] == 'teacher'
    assert set(content) == {'meta', 'state_dict'}
    assert str(DATA) not in str(content['meta'])
    again = open_network(tmp_path)
    assert again.name == 'segmentor'
    assert_same(again, deeplab[1].network('teacher'))
    assert_same(open_network(tmp_path / 'model.pth'), deeplab[1].network('teacher'))


def test_safetensors(deeplab, tmp_path):
    network = open_network(deeplab[0], choice='student')
    write_safetensors(network, tmp_path)
    from safetensors.torch import load_file
    state = load_file(tmp_path / 'model.safetensors')
    assert set(state) == set(network.state)
    assert all(torch.equal(state[name], value) for name, value in network.state.items())
    again = open_network(tmp_path / 'model.safetensors')
    assert (again.classes, again.palette) == (CLASSES, PALETTE)
    assert_same(again, deeplab[1].network('student'))


@pytest.mark.parametrize('name', tiny.segmentors())
def test_any_segmentor(name, tmp_path):
    """All kinds of heads; exported and original agree bit for bit, or the export says no."""
    segmentor = tiny.segmentors()[name]
    model = tiny.method('DACS', segmentor)
    with torch.no_grad():
        for value in model.teacher.parameters():
            value.add_(0.01 * torch.randn(value.shape))
    checkpoint = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=CLASSES[:5], palette=None)))
    network = plain_network(checkpoint, Config(dict(model=dict(type='DACS', segmentor=segmentor))))
    report = write_mmseg(network, tmp_path)
    assert report.difference == 0
    assert network.classes == CLASSES[:5]
    assert_same(network, model.eval().network('teacher'))
    stays = {'tests.models.tiny'} if 'TwoStreams' in str(segmentor) else set()
    assert set(report.foreign.values()) == stays


def test_classes_of_ours_are_named_and_imported(tmp_path):
    path, model = trained(tmp_path, networks.our_deeplab())
    report = write_mmseg(open_network(path), tmp_path / 'out')
    assert sorted(report.foreign) == ['DeepLabResNet', 'DeepLabV2Head']
    assert report.packages == ['mmseg_camix']
    text = (tmp_path / 'out/config.py').read_text()
    assert '# Not of mmseg, so that custom_imports must find them: DeepLabResNet, DeepLabV2Head.' in text
    assert Config.fromfile(tmp_path / 'out/config.py').custom_imports.imports == ['mmseg_camix']
    loaded = init_model(str(tmp_path / 'out/config.py'), str(tmp_path / 'out/model.pth'), 'cpu')
    with torch.no_grad():
        assert torch.equal(loaded(image()), model.network('teacher')(image()))


@pytest.mark.parametrize('variant', ['b0', 'b1'])
def test_our_encoder_in_stock_terms(variant):
    ours = MODELS.build(dict(type='MiT', variant=variant, drop_path_rate=0.2, out_indices=(1, 3)))
    stock = MODELS.build(type(ours).as_stock(variant, drop_path_rate=0.2, out_indices=(1, 3)))
    assert type(stock).__module__.startswith('mmseg.')
    stock.load_state_dict(ours.state_dict())
    with torch.no_grad():
        for found, expected in zip(stock.eval()(image((64, 64))), ours.eval()(image((64, 64)))):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert [m.drop_prob for m in stock.modules() if hasattr(m, 'drop_prob')] == [
        m.drop_prob for m in ours.modules() if hasattr(m, 'drop_prob')]


def test_our_encoder_stays_where_our_head_does(deeplab):
    """mmseg's would compute the same only up to rounding."""
    network = open_network(deeplab[0])
    mit = dict(network.segmentor, backbone=dict(type='MiT', variant='b0'))
    config, foreign = mmseg_config(dataclasses.replace(network, segmentor=mit))
    assert config.model.backbone.type == 'MixVisionTransformer'
    assert not foreign
    ours = dict(mit, decode_head=dict(type='DAFormerHead', in_channels=[32, 64, 160, 256], num_classes=19))
    config, foreign = mmseg_config(dataclasses.replace(network, segmentor=ours))
    assert config.model.backbone.type == 'MiT'
    assert sorted(foreign) == ['DAFormerHead', 'MiT']
    assert config.custom_imports.imports == ['mmseg_camix']


def test_a_plain_training(tmp_path):
    model = tiny.build(networks.without_weights(networks.deeplab()))
    cfg = Config(dict(model=networks.deeplab(), data_preprocessor=dict(type='SegDataPreProcessor')))
    save_checkpoint(dict(state_dict=model.state_dict(), meta=dict(cfg=cfg.pretty_text)), str(tmp_path / 'x.pth'))
    network = open_network(tmp_path / 'x.pth', choice='student')
    assert network.name == 'segmentor'
    assert network.origin['method'] is None
    assert network.segmentor['data_preprocessor']['mean'] == list(tiny.MEAN), "the segmentor's own wins"
    assert_same(network, model.eval())


def test_a_method_without_a_teacher(tmp_path):
    path, model = trained(tmp_path, networks.our_deeplab(), method='SourceOnly')
    network = open_network(path)
    assert network.name == 'student'
    assert_same(network, model.student)


def test_a_projector_stays_behind(tmp_path):
    path, model = trained(tmp_path, tiny.small(num_classes=19), method='RCCR')
    assert any('projector' in name for name in read_checkpoint(path)['state_dict'])
    network = open_network(path)
    assert set(network.state) == {name for name in model.student.state_dict() if not name.startswith('auxiliary_head')}
    assert_same(network, model.network('teacher'))


def test_the_preprocessor_of_the_wrapper(deeplab):
    checkpoint = read_checkpoint(deeplab[0])
    segmentor = networks.deeplab()
    given = segmentor.pop('data_preprocessor')
    for cfg in (dict(model=dict(type='DACS', segmentor=segmentor, data_preprocessor=given)),
                dict(model=dict(type='DACS', segmentor=segmentor), data_preprocessor=given)):
        assert plain_network(checkpoint, Config(cfg)).segmentor['data_preprocessor'] == given


@TRANSFORMS.register_module()
class OfSomebody:
    """A transform of another package."""

    def __init__(self, table):
        self.table = table

    def __call__(self, results):
        return results


def test_a_pipeline_that_needs_another_package(deeplab, tmp_path):
    checkpoint = read_checkpoint(deeplab[0])
    pipeline = [dict(type='LoadImage'), dict(type='OfSomebody', table='tables/a.txt'), dict(type='PackUDAInputs')]
    cfg = Config(dict(model=dict(type='DACS', segmentor=networks.deeplab()), test_pipeline=pipeline))
    report = write_mmseg(plain_network(checkpoint, cfg), tmp_path)
    assert report.foreign == dict(OfSomebody=__name__)
    assert report.paths == ('tables/a.txt',)


# ---------------------------------------------------------------------- refusals

def changed(checkpoint, text):
    return dict(checkpoint, meta=dict(checkpoint['meta'], cfg=text))


@pytest.mark.parametrize(('old', 'new', 'match'), [
    ("type='ASPPHead'", "type='subprocess.Popen'", "type 'subprocess.Popen' is not registered"),
    ("type='ASPPHead'", "type='antigravity'", "type 'antigravity' is not registered"),
    ("type='ASPPHead'", "type='mmengine.fileio.dump'", 'is not registered'),
    ("type='DACS'", "type='os.system'", 'is not registered'),
    ("'mmseg_camix'", "'antigravity'", 'imports antigravity, and nothing is imported because'),
])
def test_a_hostile_config_runs_and_imports_nothing(deeplab, old, new, match):
    checkpoint = read_checkpoint(deeplab[0])
    text = checkpoint['meta']['cfg'].replace(old, new)
    assert text != checkpoint['meta']['cfg']
    with pytest.raises(ExportError, match=match):
        plain_network(changed(checkpoint, text))
    assert 'antigravity' not in sys.modules


def test_weights_of_another_network(deeplab):
    checkpoint = read_checkpoint(deeplab[0])
    cfg = Config(dict(model=dict(type='DACS', segmentor=networks.resnet_mini())))
    with pytest.raises(WeightsError, match='does not fit EncoderDecoder'):
        plain_network(checkpoint, cfg)


def test_weights_that_are_not_there(deeplab, tmp_path):
    checkpoint = copy.copy(read_checkpoint(deeplab[0]))
    state = {key: value for key, value in checkpoint['state_dict'].items() if not key.startswith('student.')}
    with pytest.raises(ExportError, match='bad.pth holds no weights of a student'):
        plain_network(dict(checkpoint, state_dict=state), choice='student', source='bad.pth')
    with pytest.raises(ExportError, match='the config has no model'):
        plain_network(changed(checkpoint, 'a = 1'))
    with pytest.raises(ExportError, match='no folder of tools/export.py'):
        open_network(tmp_path)
    with pytest.raises(ExportError, match='no checkpoint at'):
        open_network(tmp_path / 'nothing.pth')


# ---------------------------------------------------------------------- classes and colours

ABC = dict(classes=('a', 'b', 'c'), palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])


@pytest.mark.parametrize(('meta', 'cfg', 'classes', 'palette'), [
    (dict(dataset_meta=ABC), {}, ABC['classes'], ABC['palette']),
    (dict(CLASSES=['a', 'b', 'c'], PALETTE=ABC['palette']), {}, ABC['classes'], ABC['palette']),
    ({}, dict(test_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dict(metainfo=ABC)))),
     ABC['classes'], ABC['palette']),
    ({}, dict(test_dataloader=dict(dataset=dict(type='FolderDataset', classes=dict(a=1, b=[2, 3], c=4)))),
     ABC['classes'], None),
    (dict(dataset_meta=dict(ABC, palette=[])), {}, ABC['classes'], None),
    (dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE)), {}, ('class 0', 'class 1', 'class 2'), None),
    ({}, dict(test_dataloader=dict(dataset=dict(type='CityscapesDataset'))), ('class 0', 'class 1', 'class 2'), None),
])
def test_classes_of_three_outputs(meta, cfg, classes, palette):
    found = dataset_meta(meta, cfg, 3)
    assert found['classes'] == classes
    assert len(found['palette']) == 3
    if palette is None:
        assert len({tuple(colour) for colour in found['palette']}) == 3
        assert all(0 <= value <= 255 for colour in found['palette'] for value in colour)
    else:
        assert found['palette'] == palette


def test_classes_of_a_data_set_by_its_type():
    found = dataset_meta({}, dict(test_dataloader=dict(dataset=dict(type='RawCityscapesDataset'))), 19)
    assert found == dict(classes=CLASSES, palette=PALETTE)
