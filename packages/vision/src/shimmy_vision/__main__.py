"""``python -m shimmy_vision`` is ``shimmy``."""

import sys

from shimmy_vision.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
