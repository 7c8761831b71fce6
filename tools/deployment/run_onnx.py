"""Masks of photographs by an exported network, without torch: ``run_onnx.py MODEL.onnx PHOTO... --out DIR``."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
parser.add_argument('model', type=Path, metavar='MODEL.onnx', help='of export.py')
parser.add_argument('photos', nargs='+', type=Path, metavar='PHOTO')
parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the masks, DIR/PHOTO.png')
args = parser.parse_args()

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(args.model)
about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
args.out.mkdir(parents=True, exist_ok=True)
for path in args.photos:
    photo = ImageOps.exif_transpose(Image.open(path)).convert('RGB')
    scale, patch = (about['side'] or max(photo.size)) / max(photo.size), about['patch_size']
    size = [max(3, round(scale * length / patch)) * patch for length in photo.size]
    pixels = np.asarray(photo.resize(size), np.float32).transpose(2, 0, 1)
    (logits,) = session.run(None, {'image': pixels[None]})
    mask = Image.fromarray(logits[0].argmax(0).astype(np.uint8)).resize(photo.size, Image.Resampling.NEAREST)
    mask.putpalette([value for colour in about['palette'] for value in colour])
    mask.save(args.out / f'{path.stem}.png')
