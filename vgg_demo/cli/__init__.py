"""The command line: parse, call, print; a file for each command.

Results go to stdout, everything else to stderr. Exit status: 0 all good, 1 something
failed, 2 wrong usage.
"""

from vgg_demo.cli.commands import main

__all__ = ["main"]
