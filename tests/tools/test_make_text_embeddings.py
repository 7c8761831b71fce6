"""Text embeddings by a small text encoder with random weights."""

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
import safetensors.torch
import torch
from tool_module import load_tool

from mmseg_wsss.checkpoints.text_embeddings import read_text_embeddings

open_clip = pytest.importorskip('open_clip', reason='the extra `clip` is not installed')
ORIGAMI, PHOTO = 'a clean origami {}.', 'a photo of the {}'
CONFIG = """
model = dict(
    cam_head=dict(
        type='TextCAMHead',
        classes=('cat', 'person'),
        background=['dirt track', 'sky'],
        synonyms=dict(person=['person', 'apparel']),
        embeddings={embeddings!r},
    )
)
"""
main = load_tool('make_text_embeddings.py').main


@pytest.fixture(scope='module')
def encoder(tmp_path_factory) -> torch.nn.Module:
    """A network that open_clip knows as ``tiny``."""
    folder = tmp_path_factory.mktemp('open_clip')
    image = dict(image_size=32, layers=1, width=64, patch_size=16)
    text = dict(context_length=12, vocab_size=49408, width=16, heads=2, layers=2)
    (folder / 'tiny.json').write_text(json.dumps(dict(embed_dim=8, vision_cfg=image, text_cfg=text)))
    open_clip.add_model_config(folder)
    return open_clip.create_model('tiny', pretrained=None).eval()


@pytest.fixture
def run(encoder, tmp_path):
    """Run the tool with the weights of the small network; gives what it wrote."""
    torch.save(encoder.state_dict(), tmp_path / 'tiny.pth')

    def run(*arguments: str, out: str = 'text.npz', weights: str = 'tiny.pth') -> dict[str, np.ndarray]:
        main([*arguments, '--model', 'tiny', '--weights', str(tmp_path / weights)])
        return read_text_embeddings(tmp_path / out)

    return run


def by_hand(encoder, name: str, *prompts: str) -> torch.Tensor:
    """The mean of unit embeddings, made one again."""
    tokens = open_clip.get_tokenizer('tiny')([prompt.format(name) for prompt in prompts])
    with torch.no_grad():
        rows = encoder.encode_text(tokens)
    mean = (rows / rows.norm(dim=1, keepdim=True)).mean(dim=0)
    return mean / mean.norm()


@pytest.mark.parametrize('prompts', [(ORIGAMI,), (ORIGAMI, PHOTO)])
def test_a_row_is_the_mean_of_the_unit_embeddings_of_its_prompts(encoder, run, tmp_path, prompts):
    chosen = ['--prompt', *prompts] if len(prompts) > 1 else []
    found = run('--names', 'cat', 'dirt track', '--out', str(tmp_path / 'text.npz'), *chosen)
    assert list(found) == ['cat', 'dirt track']
    for name, row in found.items():
        torch.testing.assert_close(torch.from_numpy(row), by_hand(encoder, name, *prompts))
    assert abs(float(by_hand(encoder, 'cat', ORIGAMI) @ by_hand(encoder, 'cat', ORIGAMI, PHOTO))) < 0.999


def test_names_and_file_are_those_of_the_config(encoder, run, tmp_path, capsys):
    file, config = str(tmp_path / 'of_config.npz'), tmp_path / 'config.py'
    config.write_text(CONFIG.format(embeddings=[file, 'other.npz']))
    found = run(str(config), '--names', 'sofa', 'cat', out='of_config.npz')
    assert list(found) == ['cat', 'person', 'apparel', 'dirt track', 'sky', 'sofa']
    torch.testing.assert_close(torch.from_numpy(found['sky']), by_hand(encoder, 'sky', ORIGAMI))
    assert capsys.readouterr().out == f'6 names: {file}\n'


def test_files_of_training_and_of_openai_give_the_same(encoder, run, tmp_path):
    state = encoder.state_dict()
    training = {'epoch': 3, 'state_dict': {f'module.{key}': value for key, value in state.items()}}
    torch.save(training, tmp_path / 'training.pt')
    safetensors.torch.save_file({**state, 'vocab_size': torch.tensor(49408)}, tmp_path / 'openai.safetensors')
    arguments = ('--names', 'cat', '--out', str(tmp_path / 'text.npz'))
    rows = [run(*arguments, weights=file)['cat'] for file in ('tiny.pth', 'training.pt', 'openai.safetensors')]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


def refuse(tmp_path, *arguments: str) -> str:
    """What the tool says; it writes nothing."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as end:
        main([*arguments, '--out', str(tmp_path / 'text.npz')])
    assert sorted(tmp_path.iterdir()) == before
    return str(end.value.code)


def test_a_file_that_would_run_code_is_refused(encoder, tmp_path, code_that_writes):
    code, written = code_that_writes
    torch.save({**encoder.state_dict(), 'extra': code}, tmp_path / 'code.pth')
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / 'program.pt')
    arguments = ('--names', 'cat', '--model', 'tiny', '--weights')
    assert 'No code from it was run' in refuse(tmp_path, *arguments, str(tmp_path / 'code.pth'))
    assert 'a TorchScript archive, which is a program' in refuse(tmp_path, *arguments, str(tmp_path / 'program.pt'))
    assert not written.exists()


def test_published_weights_are_read_as_tensors_too(encoder, run, tmp_path, code_that_writes, monkeypatch):
    code, written = code_that_writes
    torch.save({**encoder.state_dict(), 'extra': code}, tmp_path / 'code.pth')
    files = {'good': str(tmp_path / 'tiny.pth'), 'code': str(tmp_path / 'code.pth')}
    published = {tag: {'file': file} for tag, file in files.items()}  # in place of an address
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, 'tiny', published)
    monkeypatch.setitem(sys.modules, 'huggingface_hub', ModuleType('huggingface_hub'))
    monkeypatch.setattr(sys.modules['huggingface_hub'], '__spec__', ModuleSpec('huggingface_hub', None))
    main(['--names', 'cat', '--model', 'tiny', '--weights', 'good', '--out', str(tmp_path / 'good.npz')])
    found = torch.from_numpy(read_text_embeddings(tmp_path / 'good.npz')['cat'])
    torch.testing.assert_close(found, by_hand(encoder, 'cat', ORIGAMI))
    said = refuse(tmp_path, '--names', 'cat', '--model', 'tiny', '--weights', 'code')
    assert said == 'error: --weights code: refused, the file of that name holds more than tensors'
    assert not written.exists()


def test_weights_that_do_not_fit_or_are_not_there_are_named(encoder, tmp_path, monkeypatch):
    file = tmp_path / 'other.pth'
    torch.save({**encoder.state_dict(), 'text_projection': torch.zeros(16, 4)}, file)
    arguments = ('--names', 'cat', '--model')
    said = refuse(tmp_path, *arguments, 'tiny', '--weights', str(file))
    assert said.startswith(f'error: --weights {file}, --model tiny: ')
    assert 'size mismatch for text_projection' in said
    assert 'open_clip has no weights for tiny' in refuse(tmp_path, *arguments, 'tiny', '--weights', 'absent.pth')
    assert 'openai, ' in refuse(tmp_path, *arguments, 'ViT-B-16-quickgelu', '--weights', 'absent.pth')
    assert '--model hf-hub:any/one is none of open_clip: ' in refuse(tmp_path, *arguments, 'hf-hub:any/one')
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    assert 'pip install huggingface_hub' in refuse(tmp_path, '--names', 'cat')


def test_without_open_clip_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    assert "pip install 'open_clip_torch>=3'" in refuse(tmp_path, '--names', 'cat')


def test_wrong_configs_and_command_lines_are_refused(tmp_path, capsys):
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(embeddings=str(tmp_path / 'text.bin')))
    for arguments, said in (
        (['--names', 'cat'], 'give a config, or --names and --out'),
        ([str(config), '--prompt', ORIGAMI, 'a photo'], "--prompt 'a photo' needs one {}"),
        ([str(config), '--prompt', '{} and {}'], 'needs one {}'),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r'text\.bin has to end in \.npz'):
        main([str(config)])
    config.write_text("model = dict(cam_head=dict(type='TextCAMHead', background=['sky'], embeddings='t.npz'))")
    assert 'model.cam_head has no classes' in refuse(tmp_path, str(config))
    config.write_text("model = dict(cam_head=dict(type='ClsCAMHead'))")
    assert 'has no model.cam_head of type TextCAMHead' in refuse(tmp_path, str(config))
