"""Parameters divided over two gloo processes (FSDP): the same training as with whole ones, and plain checkpoints."""

import json
import shutil

import pytest
import torch
from launch import ROOT, train_in_processes
from loss_recorder import read_losses
from mmengine._strategy import FSDPStrategy
from mmengine.config import Config
from mmengine.registry import RUNNERS, init_default_scope
from mmseg.registry import MODELS
from PIL import Image
from tool_module import load_tool
from toy_runs import MODEL, toco_config, without_draws

from mmseg_wsss.checkpoints import checked
from mmseg_wsss.engine import ShardedStrategy, sharding

pytestmark = pytest.mark.slow

VIT_L = ROOT / 'configs' / 'toco' / 'toco_vit-l16-in21k_8xb1-fsdp-20k_voc12aug-448x448.py'


def _config(folder, name: str, *, sharded: bool, **changes) -> Config:
    cfg = without_draws(toco_config(folder))
    cfg.model.backbone.freeze_pos_embed = True
    cfg.custom_hooks[1].folder = str(folder / name / 'losses')
    cfg.work_dir = str(folder / name)
    cfg.experiment_name = f'{folder.name}-{name}'
    cfg.load_from = checked(folder / 'start.pth')
    cfg.env_cfg = {'dist_cfg': {'backend': 'gloo'}}
    if sharded:
        full = Config.fromfile(VIT_L)
        cfg.runner_type, cfg.strategy = full.runner_type, full.strategy
    cfg.merge_from_dict(changes)
    if not (folder / 'sizes').exists():  # two images to validate, one for each process
        # at scale 1.5 the small one and its mirror image fit into a chunk, those of the other do not
        shutil.copytree(folder / 'data', folder / 'sizes')
        for name in ('images/0.png', 'masks/0.png'):
            path = folder / 'sizes' / name
            Image.open(path).resize((24, 32), Image.Resampling.NEAREST).save(path)
    cfg.val_dataloader.dataset.data_root = str(folder / 'sizes')
    return cfg


def _adam() -> dict:
    """The optimizer of ViT-L's config.

    Its epsilon is larger, lest rounding errors in the place of gradients become steps. The decoder waits two iterations
    for its loss, in which AdamW counts steps and decays weights.
    """
    own = Config.fromfile(VIT_L).optim_wrapper
    assert own.optimizer.fused, 'it should be tried here'
    optimizer = own.optimizer.to_dict() | {'lr': 2e-4, 'eps': 1e-4}
    return {
        'optim_wrapper.optimizer': optimizer,
        'optim_wrapper.paramwise_cfg': own.paramwise_cfg.to_dict(),
    }


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """The same training with DDP, with FSDP, with FSDP and chunks, and once more interrupted."""
    folder = tmp_path_factory.mktemp('sharded')
    adam = _adam()
    plans = {
        'whole': _config(folder, 'whole', sharded=False),
        'sharded': _config(folder, 'sharded', sharded=True),
        'chunks': _config(folder, 'chunks', sharded=True, **{'model.backbone.pixels_per_pass': 64 * 64}),
        'adam_whole': _config(folder, 'adam_whole', sharded=False, **adam),
        'adam': _config(folder, 'adam', sharded=True, **adam),
        'resumed': _config(
            folder, 'resumed', sharded=True, resume=True, load_from=checked(folder / 'adam' / 'iter_3.pth'), **adam
        ),
        'bf16': _config(folder, 'bf16', sharded=True, **{'optim_wrapper.type': 'BF16OptimWrapper'}),
    }
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(plans['whole'].model)
    model.init_weights()
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, folder / 'start.pth')
    for name, cfg in plans.items():
        cfg.dump(folder / f'{name}.py')
    train_in_processes(2, [folder / f'{name}.py' for name in plans])
    return folder


def _weights(runs, name: str) -> dict[str, torch.Tensor]:
    return torch.load(runs / name / 'iter_5.pth', weights_only=False)['state_dict']


def _assert_same_training(runs, name: str, expected: str, begin: int = 0) -> None:
    for rank in (0, 1):
        pairs = zip(
            read_losses(runs / expected / 'losses', rank)[begin:],
            read_losses(runs / name / 'losses', rank),
            strict=True,
        )
        for left, right in pairs:
            assert right == pytest.approx(left, abs=1e-5)
    wanted, own = _weights(runs, expected), _weights(runs, name)
    assert own.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(own[key], value, rtol=0, atol=1e-5, msg=lambda text, key=key: f'{key}: {text}')


@pytest.mark.parametrize('name', ['sharded', 'chunks'])
def test_losses_and_weights_are_those_of_ddp(runs, name):
    _assert_same_training(runs, name, 'whole')
    losses = read_losses(runs / name / 'losses')
    assert {'loss_cls', 'loss_cls_aux', 'loss_ptc', 'loss_ctc', 'decode.loss_seg', 'loss_reg'} < set(losses[-1])
    start = torch.load(runs / 'start.pth')['state_dict']
    moved = {key: (value - start[key]).abs().max() for key, value in _weights(runs, name).items()}
    assert moved['backbone.pos_embed'] == 0
    assert moved['backbone.layers.0.attn.qkv.weight'] > 1e-3
    assert moved['projector.teacher.module.mlp.0.weight'] > 1e-3, 'the EMA teacher is kept'
    assert moved['_extra_state'] == 5, 'so is the counter of iterations'


def test_the_optimizer_of_the_config(runs):
    _assert_same_training(runs, 'adam', 'adam_whole')
    start = torch.load(runs / 'start.pth')['state_dict']
    moved = {key: (value - start[key]).abs().max() for key, value in _weights(runs, 'adam').items()}
    for key in ('cam_head', 'aux_cam_head', 'projector.student', 'decode_head'):
        fastest = max(value for name, value in moved.items() if name.startswith(f'{key}.'))
        least = 1.5e-3 if key == 'decode_head' else 5e-3  # the decoder moves in three of the five steps only
        assert 5e-4 < moved['backbone.layers.0.attn.qkv.weight'] < 1e-3 < least < fastest < 1e-2, key


def test_processes_validate_images_of_different_sizes(runs):
    """With chunks too, of which a large image would need more: every block waits for the other process."""
    metrics = []
    for name in ('whole', 'sharded', 'chunks'):
        (log,) = (runs / name).glob('*/vis_data/scalars.json')
        last = json.loads(log.read_text().splitlines()[-1])
        metrics.append({key: value for key, value in last.items() if 'time' not in key})
    assert {'cam/mIoU', 'cam_aux/mIoU', 'seg/mIoU'} < set(metrics[0])
    assert metrics[1] == pytest.approx(metrics[0], abs=0.1)
    assert metrics[2] == pytest.approx(metrics[0], abs=0.1)


def test_a_resumed_sharded_training_goes_on_as_if_uninterrupted(runs):
    _assert_same_training(runs, 'resumed', 'adam', begin=3)


def test_bfloat16_autocast(runs):
    exact, rounded = (read_losses(runs / name / 'losses') for name in ('whole', 'bf16'))
    assert rounded[0]['loss'] != exact[0]['loss']
    assert rounded[0]['loss'] == pytest.approx(exact[0]['loss'], rel=0.02)
    assert {value.dtype for value in _weights(runs, 'bf16').values()} == {torch.float32, torch.int64}


def test_a_checkpoint_serves_a_plain_model(runs):
    init_default_scope('mmseg')
    images = torch.randn(2, 3, 64, 64)
    outputs = []
    for name in ('whole', 'sharded'):
        model = MODELS.build(Config.fromfile(runs / 'whole.py').model).eval()
        model.load_state_dict(_weights(runs, name))
        with torch.no_grad():
            outputs.append((*model.cams(images).values(), model.encode_decode(images, [{'img_shape': (64, 64)}] * 2)))
    for expected, output in zip(*outputs, strict=True):
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def test_the_test_tool_reads_it(runs):
    cfg = Config.fromfile(runs / 'sharded.py')  # its runner and strategy are for training
    cfg.merge_from_dict({'test_dataloader': cfg.val_dataloader, 'test_evaluator': cfg.val_evaluator, 'test_cfg': {}})
    cfg.merge_from_dict({'load_from': None, 'experiment_name': f'{runs.name}-test'})
    cfg.dump(runs / 'test.py')
    metrics = {}
    for name in ('whole', 'sharded'):
        folder = runs / f'test_{name}'
        load_tool('test.py').main([str(runs / 'test.py'), str(runs / name / 'iter_5.pth'), '--work-dir', str(folder)])
        metrics[name] = json.loads((folder / 'test.json').read_text())['metrics']
    assert {'cam/mIoU', 'cam_aux/mIoU', 'seg/mIoU'} < set(metrics['sharded'])
    assert metrics['sharded'] == pytest.approx(metrics['whole'], abs=0.1)


def test_attention_of_wrapped_blocks_cannot_be_recorded():
    vit = MODELS.build({'type': 'mmseg.TokenViT', 'arch': 'deit-tiny', 'img_size': 32})
    vit.layers[0] = torch.nn.Sequential(vit.layers[0])
    with pytest.raises(
        TypeError, match='the attention of a block wrapped as Sequential cannot be recorded: do not wrap the blocks'
    ):
        vit.tokens(torch.randn(1, 3, 32, 32), record=lambda attention: attention.output)


def _toy_model(**test_cfg) -> torch.nn.Module:
    init_default_scope('mmseg')
    return MODELS.build(Config(MODEL | {'test_cfg': test_cfg}).to_dict())


def _strategy(**model_wrapper) -> ShardedStrategy:
    """A strategy that was not started."""
    strategy = object.__new__(ShardedStrategy)
    strategy.skip_init_weights = False
    strategy.model_wrapper = model_wrapper
    return strategy


def test_what_fsdp_ignores_is_moved_to_the_device(monkeypatch):
    wrapper = Config.fromfile(VIT_L).strategy.model_wrapper
    seen = []
    monkeypatch.setattr(sharding, 'get_device', lambda: 'meta')
    monkeypatch.setattr(FSDPStrategy, '_wrap_model', lambda self, model: seen.append(model) or model)
    model = _toy_model(mode='whole')
    assert _strategy(**wrapper)._wrap_model(model) is seen[0] is model
    named = [*model.named_parameters(), *model.named_buffers()]
    moved = {name for name, value in named if value.device.type == 'meta'}
    assert moved == {name for name, _ in named if name.startswith('projector.teacher.')}
    assert {'projector.teacher.steps', 'projector.teacher.module.mlp.0.weight'} < moved


def test_an_unknown_ignored_module_is_named():
    with pytest.raises(ValueError, match=r"model_wrapper\.ignored_modules: ToCo has no 'projector\.average'"):
        _strategy(ignored_modules=['projector.average'])._wrap_model(_toy_model(mode='whole'))


def test_sliding_windows_are_refused():
    with pytest.raises(ValueError, match=r"test_cfg\.mode='slide' would hang with ShardedStrategy: the number of"):
        _strategy().build_model(_toy_model(mode='slide', crop_size=(64, 64), stride=(32, 32)))
    whole = _toy_model(mode='whole')
    assert _strategy().build_model(whole) is whole


def test_one_process_without_launcher_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r'this is a single process: start it with tools/dist_train\.sh CONFIG N'):
        RUNNERS.build(_config(tmp_path, 'alone', sharded=True))
