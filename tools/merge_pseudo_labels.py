"""Check that all shards of a job labelled their images: ``python tools/merge_pseudo_labels.py DIR``.

DIR is the ``--out`` of tools/make_pseudo_labels.py with ``--shard I/N``. Every mask is opened. If shards are missing,
or masks are missing or damaged, they are named and nothing is written; otherwise DIR/report.json combines the shards'
reports. The exit status is 1 if there was a problem or an image was skipped.
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0], allow_abbrev=False)
    parser.add_argument('folder', metavar='DIR', help='folder that the shards share')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_args()  # --help and mistakes are answered before the imports below, which take seconds

from mmseg_wsss.pseudo_labels import ShardError, merge_shards


def main(argv: list[str] | None = None) -> int:
    """Check and sum up; returns the exit status."""
    args = parse_args(argv)
    try:
        text, skipped = merge_shards(args.folder)
    except ShardError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(text, file=sys.stderr if skipped else sys.stdout)
    return 1 if skipped else 0


if __name__ == '__main__':
    sys.exit(main())
