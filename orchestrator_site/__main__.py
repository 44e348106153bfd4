"""`python -m orchestrator_site`, which is `sandbox-orchestrator`."""

import sys

from orchestrator_site.command import NAME, main

sys.argv[0] = NAME  # what its help calls it
main()
