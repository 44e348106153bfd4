"""`python -m arcade_client`: the command `arcade`, where it is not on the path."""

import sys

from arcade_client.command.main import main

sys.exit(main())
