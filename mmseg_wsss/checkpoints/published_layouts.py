"""The weights of the published implementations of ToCo and WeakTr under our names, and back.

Sizes: D width, T class tokens, N patches, P patch side, M hidden width of a block, C foreground classes.
"""

from .key_table import KeyTable, rows

_VIT = """
cls_token                 cls_token                       1,T,D
pos_embed                 pos_embed                       1,T+N,D
patch_embed.proj.weight   patch_embed.projection.weight   D,3,P,P
patch_embed.proj.bias     patch_embed.projection.bias     D
blocks.*.norm1.weight     layers.*.ln1.weight             D
blocks.*.norm1.bias       layers.*.ln1.bias               D
blocks.*.attn.qkv.weight  layers.*.attn.qkv.weight        3D,D
blocks.*.attn.qkv.bias    layers.*.attn.qkv.bias          3D
blocks.*.attn.proj.weight layers.*.attn.proj.weight       D,D
blocks.*.attn.proj.bias   layers.*.attn.proj.bias         D
blocks.*.norm2.weight     layers.*.ln2.weight             D
blocks.*.norm2.bias       layers.*.ln2.bias               D
blocks.*.mlp.fc1.weight   layers.*.ffn.layers.0.0.weight  M,D
blocks.*.mlp.fc1.bias     layers.*.ffn.layers.0.0.bias    M
blocks.*.mlp.fc2.weight   layers.*.ffn.layers.1.weight    D,M
blocks.*.mlp.fc2.bias     layers.*.ffn.layers.1.bias      D
"""
_FINAL_NORM = """
norm.weight  ln1.weight  D
norm.bias    ln1.bias    D
"""
_LAYER_SCALE = """
blocks.*.ls1.gamma  layers.*.attn.gamma1.weight  D  optional
blocks.*.ls2.gamma  layers.*.ffn.gamma2.weight   D  optional
"""
# ImageNet's classifier: there in the files, not used by the networks.
_IMAGENET_HEAD = """
head.weight  -  1000,D  unused 0.0
head.bias    -  1000    unused 0.0
"""

# The gain of the last layer is fixed at 1; our layer has none.
_PROJECTION = """
mlp.0.weight         mlp.0.weight       H,D
mlp.0.bias           mlp.0.bias         H
mlp.2.weight         mlp.2.weight       H,H
mlp.2.bias           mlp.2.bias         H
mlp.4.weight         mlp.4.weight       B,H
mlp.4.bias           mlp.4.bias         B
last_layer.weight_v  last_layer.weight  O,B
last_layer.weight_g  -                  O,1  1.0
"""
# The published decoder's convolutions have no biases, mmseg's have. The last two rows say that the twin of the
# projector has begun (its first update would overwrite it) and that the segmentation loss counts (20,000 iterations).
_TOCO_HEADS = """
classifier.weight      cam_head.classifier.weight      C,D,1,1
aux_classifier.weight  aux_cam_head.classifier.weight  C,D,1,1
decoder.conv6.weight   decode_head.convs.0.conv.weight K,D,3,3
decoder.conv7.weight   decode_head.convs.1.conv.weight K,K,3,3
decoder.conv8.weight   decode_head.conv_seg.weight     C+1,K,1,1
-                      decode_head.convs.0.conv.bias   K    0.0
-                      decode_head.convs.1.conv.bias   K    0.0
-                      decode_head.conv_seg.bias       C+1  0.0
-                      projector.teacher.steps         ()   unused 1
-                      _extra_state                    ()   unused 20000
"""
_STAGE1_HEAD = """
head.weight                                          cam_head.classifier.weight                  T,D,3,3
head.bias                                            cam_head.classifier.bias                    T
adaptive_attention_fusion.attn_head_ffn.0.weight     cam_head.head_weights.head_ffn.0.weight     R,A
adaptive_attention_fusion.attn_head_ffn.2.weight     cam_head.head_weights.head_ffn.2.weight     A,R
adaptive_attention_fusion.attn_feat_ffn.0.weight     cam_head.head_weights.feature_ffn.0.weight  G,F
adaptive_attention_fusion.attn_feat_ffn.0.bias       cam_head.head_weights.feature_ffn.0.bias    G
adaptive_attention_fusion.attn_feat_ffn.1.weight     cam_head.head_weights.feature_ffn.1.weight  1,G
adaptive_attention_fusion.attn_feat_ffn.1.bias       cam_head.head_weights.feature_ffn.1.bias    1
norm.weight                                          -                                           D  unused 1.0
norm.bias                                            -                                           D  unused 0.0
"""
# E, L, S: width, hidden width and classes (with background) of the decoder. Its projections are plain matrices there
# and linear layers, whose weight is the transpose, here.
_MASK_TRANSFORMER = """
cls_emb                    cls_emb                              1,S,E
proj_dec.weight            dec_proj.weight                      E,I
proj_dec.bias              dec_proj.bias                        E
blocks.*.norm1.weight      layers.*.ln1.weight                  E
blocks.*.norm1.bias        layers.*.ln1.bias                    E
blocks.*.attn.qkv.weight   layers.*.attn.attn.in_proj_weight    3E,E
blocks.*.attn.qkv.bias     layers.*.attn.attn.in_proj_bias      3E
blocks.*.attn.proj.weight  layers.*.attn.attn.out_proj.weight   E,E
blocks.*.attn.proj.bias    layers.*.attn.attn.out_proj.bias     E
blocks.*.norm2.weight      layers.*.ln2.weight                  E
blocks.*.norm2.bias        layers.*.ln2.bias                    E
blocks.*.mlp.fc1.weight    layers.*.ffn.layers.0.0.weight       L,E
blocks.*.mlp.fc1.bias      layers.*.ffn.layers.0.0.bias         L
blocks.*.mlp.fc2.weight    layers.*.ffn.layers.1.weight         E,L
blocks.*.mlp.fc2.bias      layers.*.ffn.layers.1.bias           E
decoder_norm.weight        decoder_norm.weight                  E
decoder_norm.bias          decoder_norm.bias                    E
proj_patch                 patch_proj.weight                    E,E  transposed
proj_classes               classes_proj.weight                  E,E  transposed
mask_norm.weight           mask_norm.weight                     S
mask_norm.bias             mask_norm.bias                       S
"""

MASK_TRANSFORMER = KeyTable("Segmenter's mask transformer", rows(_MASK_TRANSFORMER))
"""The decoder of WeakTr's second stage alone <-> mmseg's ``SegmenterMaskTransformerHead``."""

TOCO = KeyTable(
    'published ToCo',
    rows(_VIT + _FINAL_NORM + _IMAGENET_HEAD, theirs='encoder.', ours='backbone.')
    + rows(_PROJECTION, theirs='proj_head.', ours='projector.student.')
    + rows(_PROJECTION, theirs='proj_head_t.', ours='projector.teacher.module.')
    + rows(_TOCO_HEADS),
)
"""Published ToCo <-> ``ToCo`` with ``FCNHead`` and ``EMAProjector``."""

WEAKTR_CAM = KeyTable("published WeakTr's first stage", rows(_VIT, ours='backbone.') + rows(_STAGE1_HEAD))
"""Published WeakTr, first stage <-> ``WeakTr`` with ``AAFCAMHead`` and ``OutputPooledWeights``."""

WEAKTR_SEG = KeyTable(
    "published WeakTr's second stage",
    rows(_VIT + _FINAL_NORM + _LAYER_SCALE + _IMAGENET_HEAD, theirs='encoder.', ours='backbone.')
    + rows(_MASK_TRANSFORMER, theirs='decoder.', ours='decode_head.'),
)
"""Published WeakTr, second stage (Segmenter) <-> ``OnlineRetraining`` or ``EncoderDecoder`` with
``SegmenterMaskTransformerHead``."""

LAYOUTS = {'toco': TOCO, 'weaktr-cam': WEAKTR_CAM, 'weaktr-seg': WEAKTR_SEG}
