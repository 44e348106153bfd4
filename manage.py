#!/usr/bin/env python3
"""The command `sandbox-orchestrator`, from a checkout that need not be installed."""

from orchestrator_site.command import main

if __name__ == "__main__":
    main()
