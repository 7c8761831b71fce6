"""The scope ``mmseg_wsss`` of mmengine's registries, for configs with ``_base_ = 'mmseg_wsss::...'``.

mmengine notes in all that such a config inherits that it belongs to this scope, and builds it with the registries of
the scope, which it expects in this module. Our parts are in mmseg's own registries, so that a config that names no
scope finds them too; the registries here are their children, and what they do not have they look for there.
"""

from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

# What fills mmseg's registries: a child looks into them as they are.
_LOCATIONS = ['mmseg.datasets', 'mmseg.engine', 'mmseg.evaluation', 'mmseg.models', 'mmseg.visualization', 'mmseg_wsss']


def _child(name: str) -> Registry:
    parent = getattr(mmseg_registry, name)
    return Registry(parent.name, parent=parent, scope='mmseg_wsss', locations=_LOCATIONS)


REGISTRIES = {name: _child(name) for name in mmseg_registry.__all__}
