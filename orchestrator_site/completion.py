"""Completion for bash and zsh: a script that knows every command, option and choice, and asks only for names.

Django's own completion, and argcomplete, load all of the product at each press of the key, which takes a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from orchestrator_site.command import NAME

SHELLS = ("bash", "zsh")
# Which names an argument takes, as orchestrator_site.names has them.
NAMED = {
    ("pool", "name"): "pools",
    ("snapshots", "games"): "games",
    ("game update", "game"): "games",
    ("game show", "game"): "games",
    ("game publish", "game"): "games",
    ("game back", "game"): "games",
    ("second_factor", "name"): "accounts",
    ("api_key revoke", "prefix"): "keys",
}
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
SCRIPT = """\
_sandbox_orchestrator() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" before="" key="" words="" names="" place=0 skip=0 i word
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${{COMP_WORDS[i]}}"
        before=""
        if ((skip)); then skip=0; continue; fi
        case "$word" in
            -*) before="$word"; case "$key $word" in {takes_value}) skip=1 ;; esac ;;
            *) case "${{key:+$key }}$word" in
                {keys}) key="${{key:+$key }}$word"; place=0 ;;
                *) place=$((place + 1)) ;;
            esac ;;
        esac
    done
    if ((skip)); then
        case "$key $before" in
{values}
        esac
    elif [[ "$current" == -* ]]; then
        case "$key" in
{options}
        esac
    else
        case "$key:$place" in
{places}
        esac
    fi
    [[ -z "$names" ]] || words="$("$1" names "$names" 2>/dev/null)"
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _sandbox_orchestrator {programs}
"""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What may be said after a command, or a command and its act."""

    key: str
    options: tuple[str, ...]
    takes_value: tuple[str, ...]
    values: tuple[tuple[str, tuple[str, ...]], ...]  # of options that have choices
    places: tuple[tuple[str, str], ...]  # of each place: the variable that it sets in the script, and to what


def script(shell: str) -> str:
    """Return what the shell is to read."""
    every = [each for name, app in sorted(get_commands().items()) for each in spoken(name, _parser(name, app))]
    first = " ".join(sorted({*get_commands(), "help", "version", "healthcheck"}))
    programs = f"{NAME} manage.py"
    return (ZSH if shell == "zsh" else "") + SCRIPT.format(
        keys=_either(each.key for each in every),
        takes_value=_either(f"{each.key} {option}" for each in every for option in each.takes_value),
        values=_cases((f"{each.key} {name}", "words", " ".join(v)) for each in every for name, v in each.values),
        options=_cases((each.key, "words", " ".join(each.options)) for each in every),
        places=_cases(
            [(":0", "words", first)]
            + [(f"{each.key}:{n}", *what) for each in every for n, what in enumerate(each.places) if what[1]]
        ),
        programs=programs,
    )


def _parser(name: str, app: str | BaseCommand) -> argparse.ArgumentParser:
    command = app if isinstance(app, BaseCommand) else load_command_class(app, name)
    return command.create_parser(NAME, name)


def spoken(key: str, parser: argparse.ArgumentParser) -> Iterator[Spoken]:
    """Yield what may be said after a command, then after each of its acts."""
    options: list[str] = []
    takes_value: list[str] = []
    values: list[tuple[str, tuple[str, ...]]] = []
    places: list[tuple[str, str]] = []
    acts: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        choices = tuple(map(str, action.choices or ()))
        if action.option_strings:
            options += [each for each in action.option_strings if each.startswith("--")]
            if action.nargs != 0:
                takes_value += action.option_strings
                values += [(each, choices) for each in action.option_strings if choices]
        elif isinstance(action.choices, dict):
            acts = action.choices
            places.append(("words", " ".join(choices)))
        else:
            names = NAMED.get((key, action.dest), "")
            of_many = 8 if action.nargs in ("*", "+") else 1  # places
            places += [("names", names) if names else ("words", " ".join(choices))] * of_many
    yield Spoken(key, tuple(options), tuple(takes_value), tuple(values), tuple(places))
    for act, its_parser in acts.items():
        yield from spoken(f"{key} {act}", its_parser)


def _either(patterns: Iterable[str]) -> str:
    return "|".join(f'"{each}"' for each in patterns)


def _cases(cases: Iterable[tuple[str, str, str]]) -> str:
    return "\n".join(f'            "{pattern}") {variable}="{value}" ;;' for pattern, variable, value in cases)
