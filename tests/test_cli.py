"""``mmseg-wsss``: every script of tools/ by its name."""

import json
import subprocess
import sys

import pytest
from tool_module import TOOLS

import mmseg_wsss_cli as cli


@pytest.fixture
def call(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['mmseg-wsss', *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code

    return run


def test_without_a_tool_all_are_listed(call, capsys):
    assert call() is None
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines[:4]] == ['predict', 'run', 'test', 'train']
    assert {line.split()[0] for line in lines} == {path.stem.replace('_', '-') for path in TOOLS.rglob('*.py')}
    assert lines[0].split(maxsplit=1)[1] == 'Segment photos with a trained network'
    assert all(len(line.split()) > 2 for line in lines)


def test_a_tool_gets_its_own_arguments(call, tmp_path, capsys):
    assert call('merge-pseudo-labels', str(tmp_path / 'none')) in (1, 2)
    assert str(tmp_path / 'none') in capsys.readouterr().err
    assert sys.argv[0] == 'mmseg-wsss merge-pseudo-labels'


def test_an_unknown_tool_is_named(call):
    message = call('predcit')
    assert message.startswith("error: there is no tool 'predcit'\n")
    assert '\n  predict ' in message


def test_the_list_needs_none_of_the_large_libraries():
    program = (
        'import contextlib, json, sys, mmseg_wsss_cli as cli\nsys.argv = ["mmseg-wsss"]\n'
        'with contextlib.suppress(SystemExit): cli.main()\nprint(json.dumps([*sys.modules]))'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    assert 'mmseg_wsss_cli' in modules
    assert not {'torch', 'mmcv', 'mmengine', 'mmseg', 'mmseg_wsss'} & set(modules)
