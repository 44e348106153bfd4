"""`python -m orchestrator_site.web_server`, which is Daphne. Daphne's own command looks for modules first in the folder
where it is called: another version that lies there, or somebody's own package `games`, would be served."""

from __future__ import annotations

import os

from daphne.cli import CommandLineInterface

# Found while only the product's own place is looked through; once imported, nothing else takes their names.
import games
import pools
import runs

OURS = (games, pools, runs)

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    CommandLineInterface.entrypoint()
