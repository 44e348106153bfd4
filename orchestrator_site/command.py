"""The command `sandbox-orchestrator`: Django's command line, where a wrong setting is one line and not a traceback."""

from __future__ import annotations

import os
import sys

from orchestrator_site import __version__

NAME = "sandbox-orchestrator"


def main() -> None:
    if sys.argv[1:] in (["version"], ["--version"]):
        sys.stdout.write(f"{NAME} {__version__}\n")
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestrator_site.settings")
    if sys.argv[1:2] == ["healthcheck"]:
        from orchestrator_site import healthcheck

        healthcheck.main(sys.argv[2:])
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        from django.conf import settings

        bool(settings.SECRET_KEY)  # reads the settings
    except ImproperlyConfigured as error:
        if sys.argv[1:2] == ["doctor"]:
            from orchestrator_site.doctor import report

            findings = report.without_settings(error)
            print(report.as_json(findings) if "--json" in sys.argv else "\n".join(report.lines(findings)))  # noqa: T201
            sys.exit(1)
        sys.exit(f"Configuration: {error}")
    execute_from_command_line(sys.argv)
