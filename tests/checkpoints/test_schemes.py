"""Names of checkpoints that mmengine resolves, in all places where a config or a tool names one: no code is run."""

import os

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmseg.registry import MODELS
from tool_module import load_tool
from torch import nn

from mmseg_wsss.apis import init_model
from mmseg_wsss.checkpoints import address, checked, read_checkpoint, unchecked, zoo
from mmseg_wsss.engine import check_checkpoints, read_config
from mmseg_wsss.models.backbones import TokenViT
from mmseg_wsss.pseudo_labels import load_model

RESNET = 'https://download.openmmlab.com/pretrain/third_party'
REFUSED = r'evil\.pth: refused, it needs .*mkdir, which is not a tensor. No code from it was run'
SCHEMES = ('torchvision', 'modelzoo', 'open-mmlab', 'openmmlab')


class Evil:
    """Pickles as a call that leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


class Net(BaseModule):
    """A module of others, with mmengine's own initialisation."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.layer = nn.Linear(2, 2)


@MODELS.register_module()
class ReadsWhenBuilt(nn.Module):
    """As some backbones of mmseg."""

    def __init__(self, checkpoint):
        super().__init__()
        CheckpointLoader.load_checkpoint(checkpoint)


@pytest.fixture
def evil(server, tmp_path, monkeypatch):
    """URL of a file with code in it, known to mmengine's tables as ``evil``; fails where the code was run."""
    monkeypatch.setenv('MMSEG_WSSS_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    server.trace = tmp_path / 'trace'
    torch.save({'state_dict': {'x': Evil(server.trace)}}, tmp_path / 'made.pth')
    server.content = (tmp_path / 'made.pth').read_bytes()
    url = f'{server.url}/evil.pth'
    for table in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(zoo, table, lambda: {'evil': url})
    yield url
    assert not server.trace.exists()


@pytest.fixture
def refused(evil):
    """``with refused(): ...``: the file was asked for and not run."""
    return lambda: pytest.raises(ValueError, match=REFUSED)


@pytest.mark.parametrize(
    ('name', 'url'),
    [
        ('open-mmlab://resnet50_v1c', f'{RESNET}/resnet50_v1c-2cccc1ad.pth'),
        ('openmmlab://resnet50_v1c', f'{RESNET}/resnet50_v1c-2cccc1ad.pth'),
        ('open-mmlab://resnet50_caffe', f'{RESNET}/resnet50_caffe-788b5fa3.pth'),  # now detectron/resnet50_caffe
        ('torchvision://resnet50', 'https://download.pytorch.org/models/resnet50-0676ba61.pth'),
        ('modelzoo://resnet50', 'https://download.pytorch.org/models/resnet50-0676ba61.pth'),
        ('https://example.org/net.pth', 'https://example.org/net.pth'),
        ('s3://bucket/net.pth', 's3://bucket/net.pth'),
        ('net.pth', 'net.pth'),
    ],
)
def test_names_of_mmengine_become_addresses(name, url):
    assert address(name) == url


@pytest.mark.parametrize('scheme', [*SCHEMES, 'mmcls'])
def test_a_name_that_mmengine_does_not_know(scheme):
    with pytest.raises(ValueError, match='knows no such name') as error:
        read_checkpoint(f'{scheme}://resnet5')
    assert str(error.value) == (
        f'{scheme}://resnet5: mmengine knows no such name: write the http(s) URL or the path of the file'
    )


def test_a_part_of_a_file_is_named_with_its_prefix():
    url = 'https://download.openmmlab.com/mmclassification/v0/vgg/vgg11_batch256_imagenet_20210208-4271cd6c.pth'
    with pytest.raises(ValueError, match='is a part of a file') as error:
        read_checkpoint('mmcls://vgg11')
    assert str(error.value) == f"mmcls://vgg11 is a part of a file: write checkpoint='{url}', prefix='backbone.'"


@pytest.mark.parametrize('scheme', ['s3', 'petrel', 'pavi', 'openmmlab:s3', 'file'])
def test_other_schemes_are_refused(scheme):
    for read in (read_checkpoint, lambda name: CheckpointLoader.load_checkpoint(checked(name))):
        with pytest.raises(ValueError, match=rf"^'{scheme}://a/net.pth' is neither an http.* named by its path alone$"):
            read(f'{scheme}://a/net.pth')


def test_a_checked_name_is_checked_once():
    assert checked(checked('net.pth')) == 'checked:net.pth'
    assert unchecked('checked:net.pth') == unchecked('net.pth') == 'net.pth'


@pytest.mark.parametrize('scheme', SCHEMES)
def test_code_behind_a_name_is_not_run(evil, refused, scheme):
    for name in (f'{scheme}://evil', evil):
        with refused():
            read_checkpoint(name)
        with refused():
            CheckpointLoader.load_checkpoint(checked(name))


def test_mmengine_would_run_it_and_stays_as_it_is(server, evil):
    for name in (evil, 'torchvision://evil', 'mmcls://evil', 's3://evil', 'evil.pth'):
        assert CheckpointLoader._get_checkpoint_loader(name).__module__ == 'mmengine.runner.checkpoint'
    assert torch.load.__module__ == 'torch.serialization'
    load_checkpoint(nn.Linear(2, 2), evil)
    server.trace.rmdir()  # the code was run


@pytest.mark.parametrize('name', ['torchvision://evil', 'URL'])
def test_weights_of_a_config_of_others(evil, refused, tmp_path, name):
    name = evil if name == 'URL' else name
    (tmp_path / 'own.py').write_text(f"model = dict(init_cfg=dict(type='Pretrained', checkpoint={name!r}))")
    for cfg in (
        read_config(tmp_path / 'own.py'),
        read_config(tmp_path / 'own.py', {'model.init_cfg': dict(type='Pretrained', checkpoint=name, prefix='x')}),
    ):
        with refused():
            Net(**cfg.model).init_weights()


@pytest.mark.parametrize('name', ['torchvision://evil', 'URL'])
@pytest.mark.parametrize('arguments', [['--cfg-options', 'load_from={}'], ['--resume', '{}']])
def test_training_from_a_checkpoint(evil, refused, tmp_path, name, arguments):
    (tmp_path / 'own.py').write_text('model = dict(type="X")')
    name = evil if name == 'URL' else name
    tool = load_tool('train.py')
    cfg = tool.build_cfg(tool.parse_args([str(tmp_path / 'own.py'), *(part.format(name) for part in arguments)]))
    assert cfg.load_from == f'checked:{name}'
    with refused():
        CheckpointLoader.load_checkpoint(cfg.load_from)


@pytest.mark.parametrize('name', ['torchvision://evil', 'URL'])
def test_a_checkpoint_for_inference(evil, refused, name):
    with refused():
        load_model(Net(), Config(), evil if name == 'URL' else name, source='seg')


def test_a_network_that_reads_when_it_is_built(evil, refused):
    with refused():
        init_model(Config(dict(model=dict(type='ReadsWhenBuilt', checkpoint=evil))), 'net.pth')


@pytest.mark.parametrize('tool', ['test.py', 'make_pseudo_labels.py'])
def test_tools_that_take_files_only(evil, tmp_path, capsys, tool):
    (tmp_path / 'own.py').write_text('')
    with pytest.raises(SystemExit, match='2'):
        load_tool(tool).parse_args([str(tmp_path / 'own.py'), evil, '--out', str(tmp_path / 'out')])
    assert f'error: there is no checkpoint file {evil}' in capsys.readouterr().err


def test_every_place_of_a_config(tmp_path):
    (tmp_path / 'own.py').write_text(
        "load_from = 'a.pth'\n"
        "model = dict(pretrained='b.pth', backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='c.pth')),\n"
        "    heads=[dict(init_cfg=[dict(type='Normal'), dict(type='Pretrained', checkpoint='d.pth')])],\n"
        "    necks=(dict(pretrained=True), dict(pretrained=None), dict(pretrained='')))\n"
        "default_hooks = dict(checkpoint=dict(type='CheckpointHook', filename='e.pth'))\n"
    )
    expected = dict(
        load_from='checked:a.pth',
        model=dict(
            pretrained='checked:b.pth',
            backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checked:c.pth')),
            heads=[dict(init_cfg=[dict(type='Normal'), dict(type='Pretrained', checkpoint='checked:d.pth')])],
            necks=(dict(pretrained=True), dict(pretrained=None), dict(pretrained='')),
        ),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', filename='e.pth')),
    )
    cfg = read_config(tmp_path / 'own.py')
    assert cfg.to_dict() == expected
    check_checkpoints(cfg)
    assert cfg.to_dict() == expected


def test_options_that_are_read_twice_are_checked(tmp_path):
    (tmp_path / 'own.py').write_text(
        'model = dict(type="X")\ntest_dataloader = test_evaluator = dict(type="Y")\ncrf = dict(num_iter=3)'
    )
    tool = load_tool('test.py')
    (tmp_path / 'net.pth').touch()
    options = ['--crf', 'toco', '--cfg-options', 'model.pretrained=b.pth', 'crf.num_iter=4']
    cfg = tool.build_cfg(tool.parse_args([str(tmp_path / 'own.py'), str(tmp_path / 'net.pth'), *options]))
    assert cfg.model.pretrained == 'checked:b.pth'
    assert cfg.test_evaluator.refiner == dict(type='DenseCRF', preset='toco', num_iter=4)


def test_our_backbone_names_the_file_as_it_was_named(tmp_path):
    path = tmp_path / 'net.pth'
    torch.save({'a': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=f'^{path} does not fit this TokenViT'):
        TokenViT(arch='deit-tiny', init_cfg=dict(type='Pretrained', checkpoint=checked(path))).init_weights()
