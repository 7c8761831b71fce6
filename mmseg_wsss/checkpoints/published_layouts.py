"""Name tables for pretrained ViTs and for the published methods; the latter also convert back."""

from .key_table import Constant, KeyTable, SplitTable, names

_VIT = """
cls_token            cls_token
pos_embed            pos_embed
patch_embed.proj.    patch_embed.projection.
blocks.*.norm1.      layers.*.ln1.
blocks.*.attn.qkv.   layers.*.attn.qkv.
blocks.*.attn.proj.  layers.*.attn.proj.
blocks.*.norm2.      layers.*.ln2.
blocks.*.mlp.fc1.    layers.*.ffn.layers.0.0.
blocks.*.mlp.fc2.    layers.*.ffn.layers.1.
"""
_FINAL_NORM = """
norm.  ln1.
"""
_LAYER_SCALE = """
blocks.*.ls1.gamma  layers.*.attn.gamma1.weight
blocks.*.ls2.gamma  layers.*.ffn.gamma2.weight
"""
_PRE_NORM = """
norm_pre.  pre_norm.
"""
_CLIP = """
visual.class_embedding                              cls_token
visual.positional_embedding                         pos_embed
visual.conv1.weight                                 patch_embed.projection.weight
visual.ln_pre.                                      pre_norm.
visual.transformer.resblocks.*.ln_1.                layers.*.ln1.
visual.transformer.resblocks.*.attn.in_proj_weight  layers.*.attn.qkv.weight
visual.transformer.resblocks.*.attn.in_proj_bias    layers.*.attn.qkv.bias
visual.transformer.resblocks.*.attn.out_proj.       layers.*.attn.proj.
visual.transformer.resblocks.*.ln_2.                layers.*.ln2.
visual.transformer.resblocks.*.mlp.c_fc.            layers.*.ffn.layers.0.0.
visual.transformer.resblocks.*.mlp.c_proj.          layers.*.ffn.layers.1.
visual.ln_post.                                     ln1.
"""
# The gain of the last layer is fixed at 1; our layer has none.
_PROJECTION = """
mlp.0.  mlp.0.
mlp.2.  mlp.2.
mlp.4.  mlp.4.
"""
_LAST_LAYER = """
last_layer.weight_v  last_layer.weight
"""
_TOCO_HEADS = """
classifier.weight      cam_head.classifier.weight
aux_classifier.weight  aux_cam_head.classifier.weight
decoder.conv6.weight   decode_head.convs.0.conv.weight
decoder.conv7.weight   decode_head.convs.1.conv.weight
decoder.conv8.weight   decode_head.conv_seg.weight
"""
_SECO_PARTS = """
classifier.weight      cam_head.classifier.weight
aux_classifier.weight  aux_cam_head.classifier.weight
decoder.c0.            decode_head.convs.0.
decoder.c1.            decode_head.convs.1.
decoder.c2.            decode_head.convs.2.
decoder.c3.            decode_head.convs.3.
queue                  memory.queue
queue_label_flag       memory.queue_tag
queue_ptr              memory.queue_ptr
prototypes             memory.prototypes
"""
_GRAPH = """
head_proj.  head_proj.
tail_proj.  tail_proj.
linear1.    linear1.
linear2.    linear2.
norm.       norm.
"""
_STAGE1_HEAD = """
head.                                             cam_head.classifier.
adaptive_attention_fusion.attn_head_ffn.0.weight  cam_head.head_weights.head_ffn.0.weight
adaptive_attention_fusion.attn_head_ffn.2.weight  cam_head.head_weights.head_ffn.2.weight
adaptive_attention_fusion.attn_feat_ffn.0.        cam_head.head_weights.feature_ffn.0.
adaptive_attention_fusion.attn_feat_ffn.1.        cam_head.head_weights.feature_ffn.1.
"""
_MCT_PLUS = """
pos_embed_cls  backbone.pos_embed_cls
pos_embed_pat  backbone.pos_embed_pat
head.          cam_head.classifier.
"""
_MASK_TRANSFORMER = """
cls_emb                   cls_emb
proj_dec.                 dec_proj.
blocks.*.norm1.           layers.*.ln1.
blocks.*.attn.qkv.weight  layers.*.attn.attn.in_proj_weight
blocks.*.attn.qkv.bias    layers.*.attn.attn.in_proj_bias
blocks.*.attn.proj.       layers.*.attn.attn.out_proj.
blocks.*.norm2.           layers.*.ln2.
blocks.*.mlp.fc1.         layers.*.ffn.layers.0.0.
blocks.*.mlp.fc2.         layers.*.ffn.layers.1.
decoder_norm.             decoder_norm.
proj_patch                patch_proj.weight
proj_classes              classes_proj.weight
mask_norm.                mask_norm.
"""
# Plain matrices in the published code; linear layers here, whose weight is the transpose.
_MATRICES = ('proj_patch', 'proj_classes')
# The published decoders' convolutions have no biases, mmseg's have.
_NO_BIASES = {
    'decode_head.convs.0.conv.bias': Constant(0.0, ('decoder.conv6.weight',)),
    'decode_head.convs.1.conv.bias': Constant(0.0, ('decoder.conv7.weight',)),
    'decode_head.conv_seg.bias': Constant(0.0, ('decoder.conv8.weight',)),
}
# ImageNet's classifier: present in the files, not used by the networks.
_IMAGENET_HEAD = {
    'encoder.head.weight': Constant(0.0, (1000, 'backbone.ln1.weight'), unused=True),
    'encoder.head.bias': Constant(0.0, (1000,), unused=True),
}

TIMM = names(_VIT + _FINAL_NORM + _LAYER_SCALE + _PRE_NORM)
"""mmpretrain's names of a ViT by those of timm, DeiT, AugReg, DINO, DINOv2 and MAE."""

CLIP = names(_CLIP)
"""mmpretrain's names of CLIP's image encoder by those of OpenAI and OpenCLIP."""

TOCO = KeyTable(
    layout='published ToCo',
    names={
        **names(_VIT + _FINAL_NORM, theirs='encoder.', ours='backbone.'),
        **names(_PROJECTION + _LAST_LAYER, theirs='proj_head.', ours='projector.student.'),
        **names(_PROJECTION + _LAST_LAYER, theirs='proj_head_t.', ours='projector.teacher.module.'),
        **names(_TOCO_HEADS),
    },
    only_theirs={
        **_IMAGENET_HEAD,
        'proj_head.last_layer.weight_g': Constant(1.0, ('projector.student.last_layer.weight', 1)),
        'proj_head_t.last_layer.weight_g': Constant(1.0, ('projector.teacher.module.last_layer.weight', 1)),
    },
    only_ours={
        **_NO_BIASES,
        # the EMA teacher has begun: its first update would overwrite it
        'projector.teacher.steps': Constant(1, unused=True),
        # iterations: the segmentation loss counts
        '_extra_state': Constant(20000, unused=True),
    },
)
"""Published ToCo <-> ``ToCo`` with ``FCNHead`` and ``EMAProjector``."""

WEAKTR_CAM = KeyTable(
    layout="published WeakTr's first stage",
    names={**names(_VIT, ours='backbone.'), **names(_STAGE1_HEAD)},
    only_theirs={
        'norm.weight': Constant(1.0, ('backbone.layers.0.ln1.weight',), unused=True),
        'norm.bias': Constant(0.0, ('backbone.layers.0.ln1.weight',), unused=True),
    },
)
"""Published WeakTr, first stage <-> ``WeakTr`` with ``AAFCAMHead`` and ``OutputPooledWeights``."""

MCTFORMER_PLUS = SplitTable(
    layout="published MCTformer+'s first stage",
    names={
        **{theirs: ours for theirs, ours in names(_VIT, ours='backbone.').items() if theirs != 'pos_embed'},
        **names(_MCT_PLUS),
    },
    only_theirs={
        **WEAKTR_CAM.only_theirs,  # the same final norm
        'pos_embed': Constant(0.0, (1, 197, 'backbone.layers.0.ln1.weight'), unused=True),
    },
    split='backbone.pos_embed',
    parts=('backbone.pos_embed_cls', 'backbone.pos_embed_pat'),
    length='backbone.cls_token',
)
"""Published MCTformer+, first stage <-> ``MCTformer`` with ``MCTCAMHead``."""

WEAKTR_SEG = KeyTable(
    layout="published WeakTr's second stage",
    names={
        **names(_VIT + _FINAL_NORM + _LAYER_SCALE, theirs='encoder.', ours='backbone.'),
        **names(_MASK_TRANSFORMER, theirs='decoder.', ours='decode_head.'),
    },
    transposed=frozenset(f'decoder.{name}' for name in _MATRICES),
    optional=frozenset(names(_LAYER_SCALE, theirs='encoder.')),
    only_theirs=_IMAGENET_HEAD,
)
"""Published WeakTr, second stage (Segmenter) <-> ``OnlineRetraining`` or ``EncoderDecoder`` with
``SegmenterMaskTransformerHead``."""

SECO = KeyTable(
    layout='published SeCo',
    names={
        **names(_VIT + _FINAL_NORM, theirs='encoder.', ours='backbone.'),
        **names(_VIT + _FINAL_NORM, theirs='encoder_k.', ours='teacher.module.'),
        **names(_PROJECTION, theirs='proj_head.', ours='projector.student.'),
        **names(_PROJECTION, theirs='proj_head_t.', ours='projector.teacher.module.'),
        **names(_SECO_PARTS),
    },
    # the published network has a last layer in its projectors, but does not use it
    only_theirs={
        f'{head}.last_layer.{name}': constant
        for head in ('proj_head', 'proj_head_t')
        for name, constant in {
            'weight_g': Constant(1.0, (768, 1), unused=True),
            'weight_v': Constant(0.0, (768, 'projector.student.mlp.4.bias'), unused=True),
        }.items()
    },
    only_ours={
        # the EMA teachers have begun: a first update would overwrite them
        'teacher.steps': Constant(1, unused=True),
        'projector.teacher.steps': Constant(1, unused=True),
        # iterations: every loss counts
        '_extra_state': Constant(20000, unused=True),
    },
)
"""Published SeCo <-> ``SeCo`` with ``AtrousSumHead``, ``EMAProjector`` and both contrasts."""

MORE = KeyTable(
    layout='published MoRe',
    names={
        **names(_VIT + _FINAL_NORM, theirs='encoder.', ours='backbone.'),
        **names(_GRAPH, theirs='graph_layer.', ours='graph.'),
        **names(_TOCO_HEADS),
    },
    only_theirs={
        **_IMAGENET_HEAD,
        # a layer that the published network has and does not use
        'graph_layer._fc1.0.weight': Constant(0.0, ('graph.norm.weight', 'graph.norm.weight'), unused=True),
        'graph_layer._fc1.0.bias': Constant(0.0, ('graph.norm.weight',), unused=True),
    },
    # iterations: every loss counts
    only_ours={**_NO_BIASES, '_extra_state': Constant(20000, unused=True)},
)
"""Published MoRe <-> ``MoRe`` with ``FCNHead`` and ``ClassGraph``."""

DUPL = KeyTable(
    layout='published DuPL',
    names={
        f'{branch}.{theirs}': f'{branch}.{ours}'
        for branch in ('branch1', 'branch2')
        for theirs, ours in {
            **names(_VIT + _FINAL_NORM, theirs='encoder.', ours='backbone.'),
            **names(_TOCO_HEADS),
        }.items()
    },
    only_ours={
        **{
            f'{branch}.decode_head.{layer}.bias': Constant(0.0, (f'{branch}.decoder.{conv}.weight',))
            for branch in ('branch1', 'branch2')
            for layer, conv in {'convs.0.conv': 'conv6', 'convs.1.conv': 'conv7', 'conv_seg': 'conv8'}.items()
        },
        '_extra_state': Constant(20000, unused=True),
    },
)
"""Published DuPL <-> ``DuPL`` with ``FCNHead``."""

LAYOUTS = {
    'toco': TOCO,
    'weaktr-cam': WEAKTR_CAM,
    'weaktr-seg': WEAKTR_SEG,
    'mctformer-plus': MCTFORMER_PLUS,
    'seco': SECO,
    'more': MORE,
    'dupl': DUPL,
}
