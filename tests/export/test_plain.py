"""One network out of a training: which one, what is left out, and what the config keeps."""

import dataclasses
import pathlib
import pickle
import sys
import warnings

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from mmseg.registry import MODELS, TRANSFORMS
from safetensors.torch import load_file

from mmseg_camix.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from mmseg_camix.checkpoint.config_text import checkpoint_config, format_config, parse_config
from mmseg_camix.datasets.encodings import CLASSES, PALETTE
from mmseg_camix.models import adapter
from mmseg_camix.weights import WeightsError
from mmseg_camix_tools.export import ExportError, embedded
from mmseg_camix_tools.export.embedded import accept_network, accept_pipeline
from mmseg_camix_tools.export.files import mmseg_config, open_network, write_mmseg, write_safetensors
from mmseg_camix_tools.export.metainfo import dataset_meta
from mmseg_camix_tools.export.plain import plain_network
from mmseg_camix_tools.export.segmentor import for_inference, plain_segmentor
from tests.export import networks
from tests.export.networks import DATA, trained
from tests.models import tiny

ZOO = pathlib.Path(mmseg.__file__).parent / '.mim/configs'


@pytest.fixture(scope='module')
def deeplab(tmp_path_factory):
    """(checkpoint, model) of a DACS whose config has all that only training needs."""
    return trained(tmp_path_factory.mktemp('deeplab'), networks.deeplab())


def image(size=(40, 56)):
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def assert_same(network, original):
    logits, expected = (adapter.decode(model, model.extract_feat(image())) for model in (network.build(), original))
    assert expected.std((2, 3)).min() > 0
    assert torch.equal(logits, expected)


@pytest.mark.parametrize(('choice', 'name'), [('teacher', 'teacher'), ('student', 'student'), ('tested', 'student')])
def test_chosen_network(deeplab, choice, name):
    path, model = deeplab
    network = open_network(path, choice=choice)
    assert network.name == name
    assert_same(network, model.network(name))
    assert network.origin == dict(method='DACS', tested='student', iteration=7, checkpoint='iter_7.pth')


def test_no_warning_of_a_default_of_training(deeplab):
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='Default ``avg_non_ignore``')
        open_network(deeplab[0]).build()


@pytest.mark.parametrize(('method', 'name'), [
    (dict(type='RCCR'), 'teacher'), (dict(type='RCCR', predict_with='student'), 'student'),
    (dict(type='DACS', predict_with='teacher'), 'teacher')])
def test_the_tested_network_of_a_config(deeplab, method, name):
    cfg = Config(dict(model=dict(method, segmentor=networks.deeplab())))
    assert plain_network(read_checkpoint(deeplab[0]), cfg, 'tested').name == name


def test_only_training_is_left_out(deeplab):
    network = open_network(deeplab[0])
    config, foreign = mmseg_config(network)
    text, config = format_config(config), Config(config)
    assert not foreign
    for word in ('auxiliary', 'SyncBN', 'pretrained', 'init_cfg', 'sampler', 'custom_imports', 'mmseg_camix',
                 'IdLabels', 'PackUDA', 'class_weight', str(DATA), 'work_dir', 'optim', 'train_dataloader'):
        assert word not in text, word
    assert config.model.decode_head.norm_cfg.type == 'BN'
    assert config.test_pipeline == [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    assert config.test_dataloader.dataset.pipeline == config.test_pipeline
    assert config.test_dataloader.dataset.metainfo.classes == CLASSES
    assert not any(key.startswith(('auxiliary', 'student', 'teacher')) for key in network.state)


def test_the_files_of_an_export(deeplab, tmp_path):
    path, model = deeplab
    report = write_mmseg(open_network(path), tmp_path)
    assert (report.difference, report.foreign, report.paths) == (0, {}, ())
    content = torch.load(tmp_path / 'model.pth', weights_only=True)
    assert set(content) == {'meta', 'state_dict'}
    assert content['meta']['dataset_meta'] == dict(classes=CLASSES, palette=PALETTE)
    assert content['meta']['network'] == 'teacher'
    assert str(DATA) not in str(content['meta'])
    student = open_network(path, choice='student')
    write_safetensors(student, tmp_path)
    state = load_file(tmp_path / 'model.safetensors')
    assert set(state) == set(student.state)
    assert all(torch.equal(state[name], value) for name, value in student.state.items())
    for file, name in (('', 'teacher'), ('model.pth', 'teacher'), ('model.safetensors', 'student')):
        network = open_network(tmp_path / file)
        assert (network.name, network.classes, network.palette) == ('segmentor', CLASSES, PALETTE)
        assert_same(network, model.network(name))


def test_equal_networks_are_equal_safetensors_files(deeplab, tmp_path):
    plain = open_network(deeplab[0])
    classes = ('Gehweg, für Fußgänger', '空', *plain.classes[2:])
    network = dataclasses.replace(plain, classes=classes)
    written = set()
    for _ in range(8):  # the library's own order of the metadata is random
        write_safetensors(network, tmp_path)
        written.add((tmp_path / 'model.safetensors').read_bytes())
    assert len(written) == 1
    assert open_network(tmp_path / 'model.safetensors').classes == network.classes


@pytest.mark.parametrize('name', tiny.segmentors())
def test_any_segmentor(name, tmp_path):
    """All kinds of heads: exported and original agree bit for bit, or the export raises."""
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
    assert set(report.foreign.values()) == ({'tests.models.tiny'} if 'TwoStreams' in str(segmentor) else set())


def test_classes_of_this_package_are_named_and_imported(tmp_path):
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


def test_hrda(tmp_path):
    """Its config inside the checkpoint is accepted; mmseg's functions predict an image of any size with the export."""
    path, model = trained(tmp_path, networks.hrda())
    report = write_mmseg(open_network(path), tmp_path / 'out')
    assert sorted(report.foreign) == ['DAFormerHead', 'HRDAEncoderDecoder']
    assert report.packages == ['mmseg_camix']
    loaded = init_model(str(tmp_path / 'out/config.py'), str(tmp_path / 'out/model.pth'), 'cpu')
    with torch.no_grad():
        aligned = image((64, 80))
        torch.testing.assert_close(loaded(aligned), model.network('teacher')(aligned))
    predicted = inference_model(loaded, networks.noise(size=(70, 93)))
    assert predicted.pred_sem_seg.data.shape == (1, 70, 93)


def test_a_head_that_draws_in_evaluation(tmp_path):
    """SegNeXt's: both networks draw the same, or the logits would differ."""
    head = dict(type='LightHamHead', in_channels=[32, 64], in_index=[2, 3], channels=16, ham_channels=16,
                num_classes=19, norm_cfg=dict(type='GN', num_groups=4), ham_kwargs=dict(MD_R=4, eval_steps=2))
    path, _ = trained(tmp_path, tiny.encoder_decoder(networks.resnet(), head))
    assert write_mmseg(open_network(path), tmp_path / 'out').difference == 0


def test_stock_augmentation_of_an_adapted_model():
    """mmseg's `test.py --tta` reads the number of channels and the threshold from the model that it wraps."""
    model = tiny.method('DACS', tiny.small())
    assert model.out_channels == tiny.CLASSES
    assert model.decode_head is model.student.decode_head
    assert not any(name.startswith('decode_head') for name in model.state_dict())


@pytest.mark.parametrize('variant', ['b0', 'b1'])
def test_our_encoder_in_stock_terms(variant):
    ours = MODELS.build(dict(type='MiT', variant=variant, drop_path_rate=0.2, out_indices=(1, 3)))
    stock = MODELS.build(type(ours).as_stock(variant, drop_path_rate=0.2, out_indices=(1, 3)))
    assert type(stock).__module__.startswith('mmseg.')
    stock.load_state_dict(ours.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(stock.eval()(image((64, 64))), ours.eval()(image((64, 64))), rtol=1e-3, atol=1e-4)
    drop_rates = [[m.drop_prob for m in model.modules() if hasattr(m, 'drop_prob')] for model in (stock, ours)]
    assert drop_rates[0] == drop_rates[1]


def test_our_encoder_stays_where_our_head_does(deeplab):
    """mmseg's would compute the same only up to rounding."""
    network = open_network(deeplab[0])
    mit = dict(network.segmentor, backbone=dict(type='MiT', variant='b0'))
    config, foreign = mmseg_config(dataclasses.replace(network, segmentor=mit))
    assert config['model']['backbone']['type'] == 'MixVisionTransformer'
    assert not foreign
    ours = dict(mit, decode_head=dict(type='DAFormerHead', in_channels=[32, 64, 160, 256], num_classes=19))
    config, foreign = mmseg_config(dataclasses.replace(network, segmentor=ours))
    assert config['model']['backbone']['type'] == 'MiT'
    assert sorted(foreign) == ['DAFormerHead', 'MiT']
    assert config['custom_imports']['imports'] == ['mmseg_camix']


def test_a_config_that_inherits_from_mmseg(tmp_path):
    """mmengine writes a scope into the entries of such a base."""
    (tmp_path / 'segformer.py').write_text(networks.SEGFORMER)
    cfg = Config.fromfile(tmp_path / 'segformer.py')
    state = MODELS.build(cfg.model).state_dict()
    save_checkpoint(dict(state_dict=state, meta=dict(cfg=cfg.pretty_text)), str(tmp_path / 'a.pth'))
    assert checkpoint_config(read_checkpoint(tmp_path / 'a.pth'))['model']['_scope_'] == 'mmseg'
    opened, given = open_network(tmp_path / 'a.pth'), open_network(tmp_path / 'a.pth', str(tmp_path / 'segformer.py'))
    assert (opened.segmentor, opened.pipeline) == (given.segmentor, given.pipeline)
    write_mmseg(given, tmp_path / 'out')
    assert open_network(tmp_path / 'out').classes == given.classes


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
    assert open_network(path).name == 'student'
    assert_same(open_network(path), model.student)


def test_projectors_are_left_out(tmp_path):
    path, model = trained(tmp_path, tiny.small(num_classes=19), method='RCCR')
    assert any('projector' in name for name in read_checkpoint(path)['state_dict'])
    network = open_network(path, str(tmp_path / 'config.py'))
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
class Foreign:
    """A transform of another package."""

    def __init__(self, table):
        self.table = table

    def __call__(self, results):
        return results


def test_a_pipeline_that_needs_another_package(deeplab, tmp_path):
    checkpoint = read_checkpoint(deeplab[0])
    pipeline = [dict(type='LoadImage'), dict(type='Foreign', table='tables/a.txt'), dict(type='PackUDAInputs')]
    cfg = Config(dict(model=dict(type='DACS', segmentor=networks.deeplab()), test_pipeline=pipeline))
    report = write_mmseg(plain_network(checkpoint, cfg), tmp_path)
    assert report.foreign == dict(Foreign=__name__)
    assert report.paths == ('tables/a.txt',)


def pipeline(**changes):
    """A hostile first transform of the test pipeline."""
    return dict(test_dataloader=dict(dataset=dict(pipeline=[{'type': 'LoadImageFromFile', **changes},
                                                            dict(type='PackSegInputs')])))


def model(**changes):
    return dict(model=dict(segmentor=changes))


def head(**changes):
    return model(decode_head=changes)


def place_of(**content):
    """A loss that reads a file of weights, instead of something else."""
    return dict(type='CrossEntropyLoss', class_weight='{folder}/evil.pkl', **content)


REFUSED = {
    'a dotted path': (head(type='subprocess.Popen'), 'decode_head.type'),
    'a module': (head(type='antigravity'), 'decode_head.type'),
    'a function of mmengine': (head(type='mmengine.fileio.dump'), 'decode_head.type'),
    'a type that is no text': (head(type=['ASPPHead']), 'does not describe a segmentor'),
    'a method that is none': (dict(model=dict(type='os.system')), "'os.system' is not registered"),
    'an import': (dict(custom_imports=dict(imports=['antigravity'])), 'imports antigravity; nothing that'),
    'a loss as backbone': (model(backbone=place_of()), 'model.backbone.type'),
    'a loss as neck': (model(neck=place_of()), 'model.neck.type'),
    'a loss as norm': (head(norm_cfg=place_of()), 'decode_head.norm_cfg.type'),
    'a loss that reads a file': (head(loss_se_decode=place_of()), 'loss_se_decode.class_weight'),
    'a loss anywhere': (head(anything=dict(deep=[dict(place_of())])), r'deep\[0\].type'),
    'a head that imports': (head(type='Mask2FormerHead'), 'decode_head.type'),
    'a backbone that imports': (model(backbone=dict(type='VPD', diffusion_cfg=dict(target='os.system'))),
                                'model.backbone.type'),
    'a preprocessor': (model(data_preprocessor=dict(type='ToyModel')), 'data_preprocessor.type'),
    'weights of timm': (model(backbone=dict(_delete_=True, type='TIMMBackbone', model_name='resnet18',
                                            checkpoint_path='{folder}/evil.pkl')), 'backbone.checkpoint_path'),
    'an address for timm': (model(backbone=dict(_delete_=True, type='TimmFeatures', name='hf-hub:evil/evil')),
                            'backbone.name'),
    'arguments for timm': (model(backbone=dict(_delete_=True, type='TimmFeatures', name='resnet18', arguments=dict(
        pretrained_cfg=dict(file='{folder}/evil.pkl')))), 'arguments.pretrained_cfg.file'),
    'another scope': (head(_scope_='mmdet'), "'_scope_' is not the name of an argument"),
    'a pickled image': (pipeline(type='LoadBiomedicalImageFromFile', decode_backend='pickle'), r'test_pipeline.type'),
    'a transform of files': (pipeline(type='LoadAnnotationsImage'), r'test_pipeline.type'),
    'another decoder': (pipeline(imdecode_backend='pickle'), 'imdecode_backend'),
    'another resize': (pipeline(backend='pickle'), 'backend'),
    'code in a key': (head(**{"a': __import__('os').system('touch {folder}/marker'), 'b": 1}),
                      'is not the name of an argument'),
    'a huge image': (pipeline(type='Resize', scale=(60000, 60000)), r'test_pipeline.scale'),
    'a huge scale': (pipeline(type='Resize', scale_factor=1e4), r'test_pipeline.scale_factor'),
    'no finite number': (head(dropout_ratio=float('nan')), 'dropout_ratio'),
    'bytes': (head(ratio=b'1'), 'a bytes is neither number nor text'),
    'no segmentor': (dict(model=dict(segmentor=3)), 'does not describe a segmentor'),
    'no head': (head(_delete_=True), 'does not describe a segmentor'),
    'heads without types': (model(decode_head=[1]), 'does not describe a segmentor'),
    'another predictor': (dict(model=dict(predict_with='nobody')), "predict_with='nobody'"),
    'a pipeline that is a number': (dict(test_dataloader=dict(dataset=dict(pipeline=3))), 'does not describe'),
    'wrong arguments': (head(nonsense=1), 'does not describe a segmentor.*nonsense'),
    'a layer that cannot be': (head(norm_cfg=dict(type='GN', num_groups=7)),
                               'does not describe a segmentor.*num_groups'),
    'a huge layer': (head(channels=10_000, dilations=(1, ) * 1000), 'a network of more than'),
    'many small layers': (model(backbone=dict(_delete_=True, type='MSCAN', embed_dims=[1] * 4,
                                              depths=[10**4] * 4)), 'a network of more than'),
    'more layers': (model(backbone=dict(type='MSCAN', depths=[10**6] * 4)), r'backbone.depths: its integers add up'),
}


def merged(config, changes):
    """As `Config.merge_from_dict`, for keys that are no identifiers, too."""
    if not isinstance(config, dict) or not isinstance(changes, dict) or changes.get('_delete_'):
        return {k: v for k, v in changes.items() if k != '_delete_'} if isinstance(changes, dict) else changes
    return {**config, **{key: merged(config.get(key), value) for key, value in changes.items()}}


def with_config(file, changes, folder=''):
    """The checkpoint with changes in its config; '{folder}' in them stands for a path."""
    checkpoint = read_checkpoint(file)
    config = merged(parse_config(checkpoint['meta']['cfg']), changes)
    text = ''.join(f'{key} = {value!r}\n' for key, value in config.items()).replace('{folder}', str(folder))
    return dict(checkpoint, meta=dict(checkpoint['meta'], cfg=text))


@pytest.mark.parametrize('kind', REFUSED)
def test_a_hostile_config_is_refused(deeplab, tmp_path, kind):
    """Nothing is imported, read, built or allocated because a checkpoint names it."""
    changes, match = REFUSED[kind]
    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps(Touch(tmp_path / 'marker')))
    with pytest.raises(ExportError, match=rf'^bad\.pth: .*{match}.*'):
        plain_network(with_config(deeplab[0], changes, tmp_path), source='bad.pth')
    assert not (tmp_path / 'marker').exists()
    assert 'antigravity' not in sys.modules


class Touch:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path, )


def test_resize_of_deeplabv2_is_accepted():
    resize = dict(type='Resize', scale=(1024, 512), backend='pillow')
    assert accept_pipeline([resize]) == [resize]


def test_backends_of_a_checkpoint_are_dropped(deeplab):
    checkpoint = with_config(deeplab[0], pipeline(backend_args=dict(backend='memcached', sys_path='/evil'),
                                                  file_client_args=dict(backend='disk')))
    assert plain_network(checkpoint).pipeline[0] == dict(type='LoadImageFromFile')


def test_the_config_of_an_exported_folder_is_data(deeplab, tmp_path):
    write_mmseg(open_network(deeplab[0]), tmp_path)
    with (tmp_path / 'config.py').open('a') as file:
        file.write(f"\n__import__('pathlib').Path({str(tmp_path / 'marker')!r}).touch()\n")
    with pytest.raises(CheckpointError, match=r'more than data: line \d+ has `__import__'):
        open_network(tmp_path)
    assert not (tmp_path / 'marker').exists()
    open_network(tmp_path, str(tmp_path / 'config.py'))  # the user's own word
    assert (tmp_path / 'marker').exists()


def test_the_name_of_a_file_is_no_code(deeplab, tmp_path):
    evil = tmp_path / f"x\n__import__('pathlib').Path({'marker'!r}).touch() #.pth"
    evil.write_bytes(deeplab[0].read_bytes())
    write_mmseg(open_network(evil), tmp_path / 'out')
    text = (tmp_path / 'out/config.py').read_text()
    assert [line for line in text.splitlines() if '__import__' in line and not line.startswith('#')] == []
    assert "touch() #.pth" in text


def test_the_name_of_a_method_is_no_code(deeplab, tmp_path):
    """That of a checkpoint which `adapt` was given with another config."""
    checkpoint = read_checkpoint(deeplab[0])
    kind = 'X\ncustom_imports = dict(imports=["this"])\n#\x1b[2J'
    checkpoint['meta']['cfg'] = f'model = {dict(type=kind, segmentor=dict())}'
    save_checkpoint(checkpoint, str(tmp_path / 'a.pth'))
    network = open_network(tmp_path / 'a.pth', str(deeplab[0].with_name('config.py')), trained_with_config=False)
    assert network.description.isprintable()
    write_mmseg(network, tmp_path)
    assert 'custom_imports' not in parse_config((tmp_path / 'config.py').read_text())


def test_every_class_that_a_checkpoint_may_name_is_known():
    """All are registered, by mmseg or this package, except for those that an installed mmcv lacks."""
    names = set().union(*embedded._NETWORK.values(), embedded._LOSSES)
    assert {name for name in names if name not in MODELS and name not in MODELS.parent} <= {'DCN', 'DCNv2', 'SAC'}
    assert all(name in TRANSFORMS or name in TRANSFORMS.parent for name in embedded._PIPELINE['pipeline'])


@pytest.mark.parametrize('name', [
    'deeplabv3plus/deeplabv3plus_r50-d8_4xb2-80k_cityscapes-769x769', 'hrnet/fcn_hr18_4xb4-40k_pascal-context-480x480',
    'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512', 'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes',
    'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512',
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512', 'unet/unet-s5-d16_pspnet_4xb4-40k_drive-64x64'])
def test_networks_of_mmseg_pass(name):
    segmentor = for_inference(plain_segmentor(Config.fromfile(ZOO / f'{name}.py')))
    assert accept_network(segmentor) == segmentor


def test_weights_and_config_that_do_not_fit(deeplab):
    checkpoint = read_checkpoint(deeplab[0])
    with pytest.raises(WeightsError, match='does not fit EncoderDecoder'):
        plain_network(checkpoint, Config(dict(model=dict(type='DACS', segmentor=networks.resnet_mini()))))
    state = {key: value for key, value in checkpoint['state_dict'].items() if not key.startswith('student.')}
    with pytest.raises(ExportError, match='bad.pth: it contains no weights of a student'):
        plain_network(dict(checkpoint, state_dict=state), choice='student', source='bad.pth')
    with pytest.raises(ExportError, match='the config has no model'):
        plain_network(dict(checkpoint, meta=dict(cfg='a = 1')))


ABC = dict(classes=('a', 'b', 'c'), palette=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])


@pytest.mark.parametrize(('meta', 'cfg', 'classes', 'palette'), [
    (dict(dataset_meta=ABC), {}, ABC['classes'], ABC['palette']),
    (dict(CLASSES=['a', 'b', 'c'], PALETTE=ABC['palette']), {}, ABC['classes'], ABC['palette']),
    ({}, dict(test_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dict(metainfo=ABC)))),
     ABC['classes'], ABC['palette']),
    ({}, dict(test_dataloader=dict(dataset=dict(type='FolderDataset', classes=dict(a=1, b=[2, 3], c=4)))),
     ABC['classes'], None),
    ({}, dict(train_dataloader=dict(dataset=dict(type='PairedDataset', source=None, target=dict(
        type='FolderDataset', classes=[('a', 1), ('b', [2, 3]), ('c', 4)])))), ABC['classes'], None),
    (dict(dataset_meta=dict(ABC, palette=[])), {}, ABC['classes'], None),
    (dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE)), {}, ('class 0', 'class 1', 'class 2'), None),
    ({}, dict(test_dataloader=dict(dataset=dict(type='CityscapesDataset'))), ('class 0', 'class 1', 'class 2'), None),
])
def test_classes_of_three_outputs(meta, cfg, classes, palette):
    result = dataset_meta(meta, cfg, 3)
    assert result['classes'] == classes
    if palette is None:
        assert len({tuple(colour) for colour in result['palette']}) == len(result['palette']) == 3
        assert all(0 <= value <= 255 for colour in result['palette'] for value in colour)
    else:
        assert result['palette'] == palette


def test_long_names_of_classes_are_cut():
    assert dataset_meta(dict(CLASSES=['a' * 10**6, 'b']), {}, 2)['classes'] == ('a' * 200, 'b')


def test_classes_of_a_data_set_by_its_type():
    cfg = dict(test_dataloader=dict(dataset=dict(type='RawCityscapesDataset')))
    assert dataset_meta({}, cfg, 19) == dict(classes=CLASSES, palette=PALETTE)


@pytest.mark.parametrize('pretrained', [{}, dict(pretrained=True)])
def test_no_network_downloads_weights(pretrained):
    """mmseg's TIMMBackbone downloads them by default."""
    config = for_inference(dict(backbone=dict(type='TIMMBackbone', model_name='resnet18', **pretrained),
                                decode_head=dict(type='FCNHead'), data_preprocessor=dict()))
    assert config['backbone'] == dict(type='TIMMBackbone', model_name='resnet18', pretrained=False)
