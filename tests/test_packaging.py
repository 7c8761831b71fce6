"""The wheel holds everything, the pinned set fits together, and wrong versions are refused with the remedy."""

import os
import re
import shutil
import subprocess
import sys
import warnings
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

import mmseg_wsss
from mmseg_wsss import compat

ROOT = Path(__file__).parents[1]
# dashes written as underscores, to be keyword arguments
UPSTREAM = {
    'torch': '2.13.0',
    'mmengine': '0.10.7',
    'mmcv_lite': '2.1.0',
    'mmsegmentation': '1.2.2',
    'mmpretrain': '1.2.0',
}
FORK = {
    'torch': '2.13.0',
    'onedl_mmengine': '0.10.12',
    'onedl_mmcv': '2.3.6',
    'onedl_mmsegmentation': '1.4.2',
    'onedl_mmpretrain': '1.3.6',
}
FAMILIES = {'openmmlab': UPSTREAM, 'onedl': FORK}


def _files(folder: str, *suffixes: str) -> set[str]:
    paths = [path for path in (ROOT / folder).rglob('*') if path.suffix in suffixes and '.mim' not in path.parts]
    return {path.relative_to(ROOT).as_posix() for path in paths}


@pytest.fixture(scope='module')
def wheel_file(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in ('mmseg_wsss', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml', 'README.md'):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '-w', out, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def wheel(wheel_file) -> zipfile.ZipFile:
    with zipfile.ZipFile(wheel_file) as archive:
        yield archive


def test_wheel_holds_every_module_config_and_tool(wheel):
    names = set(wheel.namelist())
    expected = _files('mmseg_wsss', '.py', '.html') | {'mmseg_wsss/.mim/model-index.yml', 'mmseg_wsss/py.typed'}
    expected |= {f'mmseg_wsss/.mim/{name}' for name in _files('configs', '.py', '.yml', '.md')}
    expected |= {f'mmseg_wsss/.mim/{name}' for name in _files('tools', '.py', '.sh')}
    assert len(expected) > 50
    assert expected - names == set()


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == mmseg_wsss.__version__
    assert f'\n## [{mmseg_wsss.__version__}] - {citation["date-released"]}\n' in (ROOT / 'CHANGELOG.md').read_text()


def test_wheel_holds_nothing_else(wheel):
    roots = {re.sub(r'-[\d.]+\.dist-info', '.dist-info', name.split('/')[0]) for name in wheel.namelist()}
    assert roots == {'mmseg_wsss', 'mmseg_wsss.dist-info'}
    assert not [name for name in wheel.namelist() if '__pycache__' in name]


def test_wheel_accepts_upstream_openmmlab_and_leaves_mmcv_alone(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith('.dist-info/METADATA')]
    lines = wheel.read(name).decode().splitlines()
    needed = [Requirement(line.split(': ', 1)[1]) for line in lines if line.startswith('Requires-Dist: ')]
    always = {requirement.name: requirement for requirement in needed if requirement.marker is None}
    for library, version in {'mmengine': '0.10.7', 'mmsegmentation': '1.2.2', 'mmpretrain': '1.2.0'}.items():
        assert always[library].specifier.contains(version)
    assert not {'mmcv', 'mmcv-lite', 'opencv-python'} & set(always)
    extras = {line.split(': ')[1] for line in lines if line.startswith('Provides-Extra: ')}
    assert {'crf', 'dev', 'lite'} <= extras
    import mmseg_wsss

    assert f'Version: {mmseg_wsss.__version__}' in lines


ELSEWHERE = """
_base_ = 'mmseg_wsss::toco/toco_vit-demo_drawn-scenes.py'
model = dict(backbone=dict(init_cfg=None), starts=dict(loss_seg=0))
train_dataloader = dict(batch_size=2, dataset=dict(data_root='photos', ann_file=''))
val_dataloader = val_evaluator = val_cfg = None
train_cfg = dict(max_iters=1)
"""
PREDICT = """
import mmseg_wsss
from mmseg.apis import inference_model, init_model
from mmseg_wsss.checkpoints import checked

model = init_model('elsewhere.py', checked('work_dirs/elsewhere/iter_1.pth'), device='cpu')
mask = inference_model(model, 'photos/JPEGImages/0.png').pred_sem_seg.data
print(mmseg_wsss.__file__, tuple(mask.shape), int(mask.max()) <= 6, int(model.iteration))
"""


@pytest.mark.slow
def test_config_elsewhere_inherits_from_the_wheel_trains_and_predicts(wheel, tmp_path):
    installed, images = tmp_path / 'site-packages', tmp_path / 'photos' / 'JPEGImages'
    wheel.extractall(installed)
    images.mkdir(parents=True)
    for name, colour in (('0', 'red'), ('1', 'blue')):
        Image.new('RGB', (128, 96), colour).save(images / f'{name}.png')
    (tmp_path / 'photos' / 'tags.json').write_text('{"0.png": ["cat"], "1.png": ["car", "bird"]}')
    (tmp_path / 'elsewhere.py').write_text(ELSEWHERE)
    (tmp_path / 'predict.py').write_text(PREDICT)

    def run(*arguments: str | Path) -> str:
        environment = {**os.environ, 'PYTHONPATH': str(installed)}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(installed / 'mmseg_wsss' / '.mim' / 'tools' / 'train.py', 'elsewhere.py')
    last = run('predict.py').splitlines()[-1]
    assert last == f'{installed}/mmseg_wsss/__init__.py (1, 96, 128) True 1'


def _lock(python: str, family: str) -> dict[str, str]:
    """Pinned versions under one Python, with one family of libraries."""
    names = ('lock', 'torch', 'crf', family)
    lines = [line for name in names for line in _lines(ROOT / 'requirements' / f'{name}.txt')]
    pins = [Requirement(line) for line in lines]
    environment = {'python_version': python}
    pins = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(environment)]
    assert len(pins) == len({canonicalize_name(pin.name) for pin in pins}), 'a package is pinned twice'
    return {canonicalize_name(pin.name): re.fullmatch(r'==([\w.]+)', str(pin.specifier))[1] for pin in pins}


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith('#')]


def test_pinned_packages_satisfy_each_other():
    family = 'onedl' if compat.uses_forks() else 'openmmlab'
    pins = _lock(f'{sys.version_info[0]}.{sys.version_info[1]}', family)
    problems = []
    for name in set(pins) - {'pydensecrf2'}:  # which needs nothing, and a C++ compiler to be there
        for text in metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is not None and not needed.marker.evaluate({'extra': ''}):
                continue
            pin = pins.get(canonicalize_name(needed.name))
            if name == 'torch' and pin is None:  # a CUDA build brings CUDA packages of its own
                continue
            if pin is None or not needed.specifier.contains(pin):
                problems.append(f'{name} needs {needed}, pinned is {pin}')
    # opencv-python-headless takes its place
    wanted = {
        'openmmlab': ('mmcv-lite needs opencv-python>=3', 'mmengine needs opencv-python>=3'),
        'onedl': ('onedl-mmcv needs opencv-python', 'onedl-mmsegmentation needs opencv-python'),
    }
    # open_clip works without them where weights come from a file
    open_clip = {f'open-clip-torch needs {needs}, pinned is None' for needs in ('huggingface-hub', 'timm>=1.0.17')}
    assert set(problems) == {f'{needs}, pinned is None' for needs in wanted[family]} | open_clip


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12'])
def test_every_python_gets_the_same_libraries_below_us(python, family):
    pins = _lock(python, family)
    versions = FAMILIES[family]
    assert {name: pins[name.replace('_', '-')] for name in versions} == versions
    (other,) = FAMILIES.keys() - {family}
    absent = {name.replace('_', '-') for name in FAMILIES[other]} - {'torch'}
    assert not absent & pins.keys(), 'never both families'
    assert pins['torchvision'] == '0.28.0'
    assert {'setuptools', 'ftfy', 'regex', 'pytest', 'ruff', 'pydensecrf2', 'opencv-python-headless'} <= set(pins)
    assert 'opencv-python' not in pins


def _pretend(monkeypatch, **versions: str) -> None:
    """Make the guard see these distributions only (dashes written as underscores)."""
    installed = {name.replace('_', '-'): version for name, version in versions.items()}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(compat.metadata, 'version', version)
    monkeypatch.setattr(compat.importlib.util, 'find_spec', lambda name: None)


@pytest.mark.parametrize('versions', [UPSTREAM, FORK, {**UPSTREAM, 'mmcv_lite': '2.0.1'}])
def test_guard_accepts_what_can_work(monkeypatch, versions):
    _pretend(monkeypatch, **versions)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert compat.check_versions() is None, 'neither an error nor a warning'


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'torch': '2.5.1'}, "torch 2.5.1 cannot work, >=2.6 is needed; fix it with: pip install 'torch>=2.6'"),
        ({'mmcv_lite': None}, "mmcv is missing; fix it with: pip install 'mmcv-lite>=2.0.0,<2.2.0'"),
        (
            {'mmcv_lite': None, 'mmcv': '2.2.0'},
            "mmcv 2.2.0 cannot work, >=2.0.0,<2.2.0 is needed; fix it with: pip install 'mmcv>=2.0.0,<2.2.0'",
        ),
        (
            {'mmcv_lite': None, 'mmcv_full': '1.7.1'},
            'mmcv-full 1.7.1 cannot work, >=2.0.0,<2.2.0 is needed; fix it with: '
            "pip uninstall -y mmcv-full && pip install 'mmcv>=2.0.0,<2.2.0'",
        ),
        (
            {'mmcv_lite': None, 'onedl_mmcv': '2.3.6'},  # upstream mmseg refuses the fork's mmcv
            'onedl-mmcv 2.3.6 cannot work, >=2.0.0,<2.2.0 is needed',
        ),
        (
            {'mmsegmentation': '0.30.0'},
            "mmsegmentation 0.30.0 cannot work, >=1.2.0 is needed; fix it with: pip install 'mmsegmentation>=1.2.0'",
        ),
    ],
)
def test_guard_names_the_remedy(monkeypatch, changes, message):
    versions = {name: version for name, version in {**UPSTREAM, **changes}.items() if version}
    _pretend(monkeypatch, **versions)
    with pytest.raises(ImportError, match=re.escape(message)) as caught:
        compat.check_versions()
    assert len(str(caught.value).splitlines()) == 2, 'one problem, one line'


def test_guard_names_all_problems_at_once(monkeypatch):
    _pretend(monkeypatch, torch='2.6.0+cpu', mmengine='0.7.0', mmcv_lite='2.1.0', mmpretrain='0.9.0')
    with pytest.raises(ImportError) as caught:
        compat.check_versions()
    first, *problems = str(caught.value).splitlines()
    assert first == 'mmseg_wsss cannot be used with this installation:'
    assert [problem.split()[0] for problem in problems] == ['mmengine', 'mmseg', 'mmpretrain']


@pytest.mark.parametrize('versions', [{'torch': '2.14.0+cpu'}, {'mmengine': '1.0.0'}, {'mmsegmentation': '2.0.0rc1'}])
def test_guard_warns_of_versions_that_nobody_tested(monkeypatch, versions):
    _pretend(monkeypatch, **{**UPSTREAM, **versions})
    ((name, version),) = versions.items()
    with pytest.warns(
        UserWarning, match=rf'{name} {re.escape(version)} is newer than all .* tested with \(\d'
    ) as caught:
        compat.check_versions()
    assert len(caught) == 1


def test_guard_warns_of_two_mmcv(monkeypatch):
    _pretend(monkeypatch, **UPSTREAM, mmcv='2.1.0')
    with pytest.warns(UserWarning, match='mmcv-lite and mmcv are installed together and overwrite each other'):
        compat.check_versions()


def test_every_relative_link_of_a_page_leads_somewhere():
    pages = [*ROOT.glob('*.md')]
    for folder in ('docs', 'configs', 'benchmarks'):
        pages += (ROOT / folder).rglob('*.md')
    broken = []
    for page in pages:
        for target in re.findall(r'\]\(([^)#\s]+)[^)]*\)', page.read_text()):
            if '://' not in target and not (page.parent / target).exists():
                broken.append(f'{page.relative_to(ROOT)}: {target}')
    assert broken == []
