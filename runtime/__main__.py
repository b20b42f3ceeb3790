"""`python -m voxturn.runtime`: the command line, where no script `voxturn` is installed."""

from __future__ import annotations

import sys

from voxturn.runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
