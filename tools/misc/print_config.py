"""Print a config as it is after inheritance and options: ``python tools/misc/print_config.py CONFIG``."""

import argparse

from mmengine.config import DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('config', help='config file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override values')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.engine import read_config


def main(argv: list[str] | None = None) -> None:
    """Print."""
    args = parse_args(argv)
    print(read_config(args.config, args.cfg_options).pretty_text)


if __name__ == '__main__':
    main()
