#!/usr/bin/env python3
"""Django's command line for the orchestrator; a wrong setting is one line, not a traceback."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        from django.conf import settings

        bool(settings.SECRET_KEY)  # reads the settings
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration: {error}")
    execute_from_command_line(sys.argv)
