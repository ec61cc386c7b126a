"""Entry point of ``python -m vgg_demo``."""

from vgg_demo.cli import main

if __name__ == "__main__":
    main(prog_name="python -m vgg_demo")
