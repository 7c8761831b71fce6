"""Checkpoints that are complete or not there, also where the disk is full or the training is killed."""

from contextlib import nullcontext
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ...fileio import whole_file, write_text


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` that loses no checkpoint while it writes the next.

    The differences: a checkpoint, and after it ``last_checkpoint``, gets its name when it is complete; and the oldest
    of ``max_keep_ckpts`` is removed after that instead of before, so the disk holds one more for a moment. The
    checkpoints are files in a local folder, written by the first process; what ``save_best`` writes is mmengine's own.

    Args:
        **kwargs: of ``CheckpointHook``.
    """

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Write a checkpoint, then its name, then remove the oldest.

        Raises:
            OSError: it cannot be written; those that were there are left.
        """
        oldest = None
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:  # the best one may be saved twice in a step
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.keep_ckpt_ids.popleft()
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        path = Path(self.out_dir, self.filename_tmpl.format(step))
        self.last_ckpt = str(path)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        with whole_file(path) if is_main_process() else nullcontext(path) as file:
            runner.save_checkpoint(
                str(file.parent),
                file.name,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                **self.args,
            )
        if is_main_process():
            write_text(Path(runner.work_dir, 'last_checkpoint'), self.last_ckpt)
            if oldest is not None:
                Path(self.out_dir, self.filename_tmpl.format(oldest)).unlink(missing_ok=True)
