"""What no log and no trace may tell: keys, tokens, passwords, and the signatures of addresses.

Whoever can make us log a line writes its text. So a text is cut first, and no pattern looks further than a fixed number
of characters: the time it takes grows with the text, and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from django.conf import settings

SHORTEST_SECRET = 8  # characters: what is shorter is found in words
MOST_CHARACTERS = 16_384  # of one text; a secret that begins before the cut is looked for behind it, too
LONGEST_SECRET = 1_024
MOST_NESTED = 5
GONE = "…"

WORDS = ("token", "secret", "passw", "passphrase", "pwd", "signature", "credential", "authoriz", "cookie", "sessionid")
KEYS = r"(?:api|access|private)-?key|(?<=[_-])key(?![\w.-])|(?<=[\"'])key(?![\w.-])"
NAMED = rf"(?:(?:{'|'.join(WORDS)})[\w.-]{{0,40}}+|{KEYS})"
IS_NAMED = re.compile(rf"{'|'.join(WORDS)}|(?:api|access|private)-?key|(?:\A|[_-])key\Z", re.IGNORECASE)
IS = r"\s{0,4}+(?:[:=]|%(?:25)?3[AD])\s{0,4}+"  # 25: escaped twice
QUOTE = r"\\{0,4}+[\"']"
SCHEMES = "bearer|basic|token|digest"
# In queries, where they may be as short as that.
SHORT = "t|k|key|code|auth|sig|otp|jwt|pass"
NO_SECRET = rf"(?!(?:true|false|null|none)\b|(?:{SCHEMES})\s)"


class Pattern(NamedTuple):
    """What to put for a match. Without one of `words` in it, no text is looked through: most have none."""

    words: tuple[str, ...]
    pattern: re.Pattern[str]
    put: str


def _pattern(words: tuple[str, ...], pattern: str, put: str = rf"\1{GONE}") -> Pattern:
    return Pattern(words, re.compile(pattern, re.IGNORECASE), put)


PATTERNS = [
    # Headers, whose values have blanks in them.
    _pattern(
        ("authoriz", "cookie"),
        rf"((?:authoriz|cookie)[\w.-]{{0,40}}+\s{{0,4}}+:\s{{0,4}}+(?:(?:{SCHEMES})\s{{1,8}}+)?)"
        r"(?!b?[\"'\\])[^\s…][^\r\n\"'\\]*+",
    ),
    _pattern(("bearer", "basic"), r"(\b(?:bearer|basic)\s{1,8}+)[\w.~+/=-]{8,}+"),
    # By name: in dictionaries and lists of pairs, as Python and JSON write them, escaped or not; in calls, queries and
    # settings.
    _pattern(
        (*WORDS, "key"),
        rf"({NAMED}(?:(?:{QUOTE})?{IS}|{QUOTE}\s{{0,4}}+,\s{{0,4}}+)b?({QUOTE}))(?:(?!(?<!\\)\2).)+",
    ),
    _pattern((*WORDS, "key"), rf"({NAMED}(?:{QUOTE})?{IS})(?!b[\"']){NO_SECRET}[^\s\"'\\&<>,;)\]}}]++"),
    _pattern(("=", "%3d", "%253d"), rf"((?:[?&;]|%(?:25)?(?:3F|26))(?:{SHORT})(?:=|%(?:25)?3D))[^\s\"'\\&<>]++"),
    # Ours, each with its beginning, and those of DigitalOcean, GitHub and GitLab.
    _pattern(("key_",), r"(key_[0-9a-f]{8}_)[\w-]{16,}+"),
    _pattern(("run_",), r"(run_)[0-9a-f]{64}(?![0-9a-f])"),
    _pattern(("whsec_",), r"(whsec_)[\w+/=-]{16,}+"),
    _pattern(("_v1_",), r"(do[optr]_v1_)[0-9a-f]{16,}+"),
    _pattern(("gh", "glpat"), r"(gh[oprsu]_|github_pat_|glpat-)[\w-]{16,}+"),
    # Before the host of an address: a name, and a password, in which somebody forgot to escape a slash or an @.
    _pattern(
        ("://",),
        r"(?<=://)(?:[^\s/@\"'<>?#]{0,256}+|[^\s/:@\"'<>?#]{0,64}+:(?!\d{1,5}+[/?#])[^\s@\"'<>]{1,256}+)"
        r"(?:@[^\s/@\"'<>]{1,256}+(?=@))?(?=@)",
        GONE,
    ),
]

ALL_WORDS = tuple({word for each in PATTERNS for word in each.words})


def redacted(text: str) -> str:
    """The text without what is secret in it, and cut when it is very long."""
    if len(text) < SHORTEST_SECRET:
        return text
    whole, text = len(text), text[: MOST_CHARACTERS + LONGEST_SECRET]
    if settings.configured:  # else they are being read
        for secret in _own(settings.SECRET_KEY):
            text = text.replace(secret, GONE)
    has_word = text.lower().__contains__
    if any(map(has_word, ALL_WORDS)):
        for words, pattern, put in PATTERNS:
            if any(map(has_word, words)):
                text = pattern.sub(put, text)
    return text if whole <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}{GONE} ({whole} characters)"


def redacted_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same for all texts of a record, and those by their names that are secret."""
    return {_redacted_name(name): _redacted_value(name, value, MOST_NESTED) for name, value in fields.items()}


def _redacted_value(name: str, value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return GONE if _is_secret(name) else redacted(value)
    if not isinstance(value, dict | list):
        return value
    if not depth:
        return GONE
    if isinstance(value, dict):
        return {_redacted_name(key): _redacted_value(key, each, depth - 1) for key, each in value.items()}
    return [_redacted_value(name, each, depth - 1) for each in value]


@lru_cache(maxsize=256)
def _redacted_name(name: str) -> str:
    return redacted(name)


@lru_cache(maxsize=256)
def _is_secret(name: str) -> bool:
    return IS_NAMED.search(name) is not None


@lru_cache(maxsize=4)
def _own(secret_key: str) -> tuple[str, ...]:
    """The secrets in the settings, the longest first, as they are and as addresses have them."""
    found = [secret_key, *settings.SECRET_KEY_FALLBACKS, settings.DIGITALOCEAN_TOKEN, settings.EMAIL_HOST_PASSWORD]
    found += [settings.SPACES["access_key"], settings.SPACES["secret_key"]]
    found += [str(database.get("PASSWORD") or "") for database in settings.DATABASES.values()]
    found += [urlsplit(settings.REDIS_URL).password or ""]
    for header in settings.TRACES_HEADERS.split(","):
        found += header.partition("=")[2].strip(), *unquote(header.partition("=")[2]).split()
    spelled = {form for each in found for form in (each, unquote(each), quote(each), quote(each, safe=""))}
    return tuple(sorted({each for each in spelled if len(each) >= SHORTEST_SECRET}, key=len, reverse=True))
