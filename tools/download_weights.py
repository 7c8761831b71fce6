"""Download pretrained weights into the cache folder and check their SHA-256.

    python tools/download_weights.py deit_small
    python tools/download_weights.py https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth

Prints the path of each file, for ``--cfg-options model.backbone.init_cfg.checkpoint=PATH``; URLs in configs use the
cache too. The cache is $MMSEG_WSSS_CACHE or torch.hub's folder. docs/weights.md lists the names.
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'names', nargs='*', metavar='NAME_OR_URL', help='what to fetch; without it the names are listed'
    )
    parser.add_argument('--cache', metavar='DIR', help='another cache folder')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.checkpoints import ZOO, cache_folder, fetch


def main(argv: list[str] | None = None) -> None:
    """Fetch; exit status 1 when a file could not be had."""
    args = parse_args(argv)
    if not args.names:
        folder = args.cache or cache_folder()
        print(f'cache folder: {folder}', *(f'{entry.name}  {entry.url}' for entry in ZOO), sep='\n')
    failed = False
    for name in args.names:
        try:
            print(fetch(name, folder=args.cache))
        except (OSError, ValueError) as error:
            print(f'error: {error}', file=sys.stderr)
            failed = True
    sys.exit(int(failed))


if __name__ == '__main__':
    main()
