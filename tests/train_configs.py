"""Train configs one after the other in the same processes, because starting the processes costs more than a training.

Started by ``torchrun``; see ``launch.py``.
"""

import sys

from mmengine.config import Config
from mmengine.registry import RUNNERS

from mmseg_wsss.engine import finish_launch, prepare_cpu_launch

if __name__ == '__main__':
    for path in sys.argv[1:]:
        cfg = Config.fromfile(path)
        cfg.launcher = 'pytorch'
        prepare_cpu_launch(cfg)
        RUNNERS.build(cfg).train()
    finish_launch()
