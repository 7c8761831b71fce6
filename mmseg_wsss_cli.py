"""``mmseg-wsss TOOL ...`` runs a script of ``tools/`` wherever the package is installed; its options are its own.

A module beside the package, because importing the package takes seconds, and ``--help`` should not.
"""

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

TOOLS = Path(find_spec('mmseg_wsss').origin).parent / '.mim' / 'tools'
_FIRST = ('run', 'predict', 'train', 'test')


def tools() -> dict[str, Path]:
    """Name on the command line -> script, those that most people need first."""
    found = {path.stem.replace('_', '-'): path for path in sorted(TOOLS.rglob('*.py'))}
    return {name: found[name] for name in sorted(found, key=lambda name: (name not in _FIRST, name))}


def main() -> None:
    """Run a tool; without one, or with ``--help``, list them."""
    name, scripts = (sys.argv[1:2] or ['--help'])[0], tools()
    if name not in scripts:
        width = max(map(len, scripts))
        asked = name in ('-h', '--help')
        lines = [f'  {tool:{width}}  {_summary(path)}' for tool, path in scripts.items()]
        text = '\n'.join(['mmseg-wsss TOOL ...; mmseg-wsss TOOL --help says more', '', *lines])
        sys.exit(print(text) if asked else f'error: there is no tool {name!r}\n{text}')
    sys.argv = [f'mmseg-wsss {name}', *sys.argv[2:]]
    sys.path.insert(0, str(scripts[name].parent))  # as Python does for a script
    runpy.run_path(str(scripts[name]), run_name='__main__')


def _summary(script: Path) -> str:
    """The first sentence of a script's docstring."""
    return script.read_text(encoding='utf-8').split('"""')[1].split('\n')[0].partition(': ``')[0]
