"""What every tool answers at once: --help without the libraries, and an output that cannot be written."""

import json
import subprocess
import sys

import pytest
from tool_module import TOOLS, load_tool

from mmseg_wsss.checkpoints import LAYOUTS
from mmseg_wsss.models.refiners import CRF_PRESETS
from mmseg_wsss.pseudo_labels import REFINERS

EVERY = sorted(path.relative_to(TOOLS).as_posix() for path in TOOLS.rglob('*.py'))
PROGRAM = """
import contextlib, io, json, runpy, sys
answers = {}
for tool in sys.argv[1:]:
    sys.argv, printed = [tool, '--help'], io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(tool, run_name='__main__')
    except SystemExit as end:
        answers[tool] = [end.code, printed.getvalue()[:6]]
print(json.dumps([answers, sorted({name.partition('.')[0] for name in sys.modules})]))
"""


def test_help_needs_none_of_the_large_libraries():
    command = [sys.executable, '-c', PROGRAM, *(str(TOOLS / name) for name in EVERY)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answers, modules = json.loads(done.stdout)
    assert answers == {str(TOOLS / name): [0, 'usage:'] for name in EVERY}
    assert len(EVERY) >= 17
    assert not {'torch', 'mmcv', 'mmseg', 'mmpretrain', 'cv2', 'matplotlib', 'scipy', 'mmseg_wsss'} & set(modules)


@pytest.mark.parametrize(
    ('tool', 'arguments', 'names'),
    [
        ('test.py', ['c', 'c', '--crf', '?'], list(CRF_PRESETS)),
        ('make_pseudo_labels.py', ['c', 'c', '--out', 'o', '--refine', '?'], ['none', *REFINERS]),
        ('analysis_tools/report.py', ['c', '--refine', '?'], ['none', *REFINERS]),
        ('model_converters/published.py', ['?', 'in', 'out'], list(LAYOUTS)),
        ('dataset_converters/image_labels.py', ['s', 'o', '--classes', 'c', '--from', '?'], None),
    ],
)
def test_choices_are_those_of_the_package(tool, arguments, names, capsys):
    module = load_tool(tool)
    with pytest.raises(SystemExit):
        module.parse_args(arguments)
    shown = capsys.readouterr().err.partition('(choose from ')[2].strip().rstrip(')').replace("'", '').split(', ')
    assert shown == (list(module.SOURCES) if names is None else names)


@pytest.mark.parametrize(
    ('tool', 'arguments', 'option'),
    [
        ('run.py', ['.', '--tags', '{file}', '--out', '{bad}'], '--out'),
        ('predict.py', ['{file}', '{file}', '{file}', '--out', '{bad}'], '--out'),
        ('make_text_embeddings.py', ['--names', 'n', '--out', '{bad}'], '--out'),
        ('analysis_tools/refined_cams.py', ['{file}', '--out', '{bad}'], '--out'),
        ('test.py', ['{file}', '{file}', '--out', '{bad}'], '--out'),
        ('make_pseudo_labels.py', ['{file}', '{file}', '--out', '{bad}'], '--out'),
        ('run_two_stage.py', ['{file}', '{file}', '--work-dir', '{bad}'], '--work-dir'),
        ('analysis_tools/report.py', ['{file}', '--out', '{bad}'], '--out'),
        ('dataset_converters/masks_to_coco.py', ['m', '{bad}', '--images', 'i'], 'OUT'),
        ('dataset_converters/check.py', ['{file}', '--json', '{bad}'], '--json'),
        ('dataset_converters/image_labels.py', ['s', '{bad}', '--from', 'csv', '--classes', 'c'], 'OUT'),
        ('dataset_converters/voc_subset.py', ['r', '--name', 'n', '--classes', 'c', '--out', '{bad}'], '--out'),
        ('model_converters/published.py', ['toco', 'in', '{bad}'], 'OUT'),
        ('model_converters/vit.py', ['in', '{bad}'], 'OUT'),
        ('pack_voc_submission.py', ['p', '{bad}', '--list', 'l'], 'OUT'),
    ],
)
def test_an_output_that_cannot_be_written_is_said_before_the_work(tmp_path, tool, arguments, option):
    file = tmp_path / 'file.py'
    file.write_text('')
    bad = file / 'out'
    with pytest.raises(SystemExit) as end:
        load_tool(tool).main([text.format(file=file, bad=bad) for text in arguments])
    assert end.value.code == f'error: {option} {bad} cannot be written: {file}: Not a directory'
