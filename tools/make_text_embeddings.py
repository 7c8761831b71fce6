"""Make the file of text embeddings that a TextCAMHead reads: ``python tools/make_text_embeddings.py CONFIG``.

The names are the classes of CONFIG (of a class with synonyms, the synonyms), its names of background, and --names. Each
name is put into the prompts; its embedding is the mean of theirs. All names of a head need the same text encoder and
the same prompts, and the text encoder has to be that of the image encoder.

Needs the extra `clip`: pip install open_clip_torch.
"""

import argparse
import importlib.util
import logging
import pickle
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

CLIP_ES = 'a clean origami {}.'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('config', nargs='?', help='config with a TextCAMHead (without it: --names and --out)')
    parser.add_argument('--names', nargs='+', default=[], metavar='NAME', help='names beside those of the config')
    parser.add_argument('--prompt', nargs='+', default=[CLIP_ES], metavar='TEXT', help=f'default: {CLIP_ES!r}')
    parser.add_argument(
        '--weights', default='openai', help="open_clip's name (default: openai), or a file of --model's"
    )
    parser.add_argument('--model', default='ViT-B-16-quickgelu', help="open_clip's name (default: ViT-B-16-quickgelu)")
    parser.add_argument('--out', metavar='FILE.npz', help="default: the config's cam_head.embeddings, the first one")
    args = parser.parse_args(argv)
    if not (args.config or (args.names and args.out)):
        parser.error('give a config, or --names and --out')
    if wrong := [text for text in args.prompt if text.count('{}') != 1]:
        parser.error(f'--prompt {wrong[0]!r} needs one {{}}, which stands for the name')
    return args


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_wsss.checkpoints import read_weights
from mmseg_wsss.checkpoints.text_embeddings import write_text_embeddings
from mmseg_wsss.engine import read_config
from mmseg_wsss.fileio import unwritable

NOT_WEIGHTS = ('input_resolution', 'context_length', 'vocab_size')  # numbers that OpenAI's files have beside them
BATCH = 256  # texts at once


def names_and_file(config: str | Path) -> tuple[list[str], str]:
    """The names that the TextCAMHead of a config looks up, and the file in which it does so first.

    Raises:
        FileNotFoundError, ValueError: there is no such config, or it has no such head with classes.
    """
    head = read_config(config).get('model', {}).get('cam_head') or {}
    if 'TextCAMHead' not in str(head.get('type')):
        raise ValueError(f'{config} has no model.cam_head of type TextCAMHead: give --names and --out instead')
    if missing := [key for key in ('classes', 'background', 'embeddings') if key not in head]:
        raise ValueError(f'{config}: model.cam_head has no {", ".join(missing)}')
    synonyms = head.get('synonyms', {})
    names = [each for name in head['classes'] for each in synonyms.get(name, [name])]
    embeddings = head['embeddings']
    return [*names, *head['background']], embeddings if isinstance(embeddings, str) else embeddings[0]


def load_encoder(model: str, weights: str) -> tuple[nn.Module, Callable]:
    """One of open_clip's networks and its tokenizer. Weights are read as tensors alone: no code of a file is run.

    Args:
        model: open_clip's name of the network.
        weights: open_clip's name of published weights, which it downloads; or a local file or URL.

    Raises:
        FileNotFoundError, ValueError: the network is unknown; the file is missing, unsafe, or of another network.
    """
    import open_clip

    if model not in open_clip.list_models():  # hf-hub:... would bring weights of its own
        raise ValueError(f'--model {model} is none of open_clip: {", ".join(open_clip.list_models())}')
    published = open_clip.is_pretrained_cfg(model, weights)
    if published and importlib.util.find_spec('huggingface_hub') is None:  # open_clip would take OpenAI's program
        raise ValueError(f'--weights {weights} needs huggingface_hub: pip install huggingface_hub, or name a file')
    if not (published or '://' in weights or Path(weights).expanduser().is_file()):
        tags = ', '.join(open_clip.list_pretrained_tags_by_model(model)) or 'no weights'
        raise FileNotFoundError(f'--weights {weights}: there is no such file, and open_clip has {tags} for {model}')
    state = {} if published else read_weights(weights)
    logging.disable(logging.ERROR)  # it says that weights are random, which the file replaces; errors are raised too
    try:
        network = open_clip.create_model(
            model, pretrained=weights if published else None, pretrained_text=False, weights_only=True
        )
        if not published:  # strictly, image encoder included: text encoders of several networks have equal shapes
            state = {key.removeprefix('module.'): value for key, value in state.items() if key not in NOT_WEIGHTS}
            network.load_state_dict(state)
    except pickle.UnpicklingError:  # its text advises to read the file unsafely
        raise ValueError(f'--weights {weights}: refused, the file of that name holds more than tensors') from None
    except RuntimeError as error:
        raise ValueError(f'--weights {weights}, --model {model}: {textwrap.shorten(str(error), 800)}') from error
    finally:
        logging.disable(logging.NOTSET)
    return network.eval(), open_clip.get_tokenizer(model)


@torch.inference_mode()
def embed(
    names: Sequence[str], prompts: Sequence[str], network: nn.Module, tokenizer: Callable
) -> dict[str, np.ndarray]:
    """Name -> the mean over the prompts of its unit embeddings, as a unit vector.

    Args:
        names: what stands in place of ``{}`` in the prompts.
        prompts: texts with one ``{}``.
        network, tokenizer: see :func:`load_encoder`.
    """
    total = 0
    for prompt in prompts:
        tokens = tokenizer([prompt.replace('{}', name) for name in names])
        total += F.normalize(torch.cat([network.encode_text(part) for part in tokens.split(BATCH)]), dim=1)
    return dict(zip(names, F.normalize(total, dim=1).numpy(), strict=True))


def main(argv: list[str] | None = None) -> None:
    """Write the file."""
    args = parse_args(argv)
    try:
        names, out = names_and_file(args.config) if args.config else ([], '')
        out = Path(args.out or out).expanduser()
        if problem := unwritable(out, file=True):
            raise ValueError(f'--out {problem}')
        if out.suffix != '.npz':
            raise ValueError(f'--out {out} has to end in .npz')
        names = list(dict.fromkeys([*names, *args.names]))
        write_text_embeddings(out, embed(names, args.prompt, *load_encoder(args.model, args.weights)))
    except ImportError as error:
        sys.exit(f"error: {error}: make_text_embeddings.py needs the extra clip: pip install 'open_clip_torch>=3'")
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'{len(names)} names: {out}')


if __name__ == '__main__':
    main()
