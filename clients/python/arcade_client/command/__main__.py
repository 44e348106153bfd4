"""`python -m arcade_client.command`: the command, where it is not installed."""

import sys

from arcade_client.command.main import main

sys.exit(main())
