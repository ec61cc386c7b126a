"""The command line: click commands, one module per command.

Results go to stdout, everything else to stderr. Exit status: 0 success, 1 failure, 2 wrong
usage, 130 interrupted.
"""

from vgg_demo.cli.commands import main

__all__ = ["main"]
