"""To the second and short: operators compare moments."""

DATETIME_FORMAT = "j M Y H:i:s"
DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i:s"
