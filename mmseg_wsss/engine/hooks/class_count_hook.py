"""Network and data set with different numbers of classes are refused before the first iteration."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compare the segmentor's number of classes with that of the training set, both with the background.

    Without it a network with too many classes trains on, and one with too few fails somewhere inside a loss.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare, where both say how many.

        Raises:
            ValueError: they differ; the message names the keys.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        count = getattr(model, 'num_classes', None)
        classes = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes')
        if None not in (count, classes) and len(classes) != count:
            raise ValueError(
                f'the network has {count} classes, the training set {len(classes)}, both with background '
                f'({", ".join(classes[:8])}{", ..." if len(classes) > 8 else ""}): set model.num_classes to '
                f'{len(classes) - 1} (in a network without that key, decode_head.num_classes to {len(classes)}), or '
                'train_dataloader.dataset.classes'
            )
