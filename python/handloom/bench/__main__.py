"""``python -m handloom.bench``: the same as ``handloom bench``."""

import argparse

from . import add_arguments, main

parser = argparse.ArgumentParser(prog="handloom bench", description="Measure handloom's speed.")
add_arguments(parser)
raise SystemExit(main(parser.parse_args()))
