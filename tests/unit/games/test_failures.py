"""What the last words of a build tell: which tool it lacks."""

from __future__ import annotations

import pytest

from games.failures import tool_missing


@pytest.mark.parametrize(
    ("line", "tool"),
    [
        ("sh: 1: gcc: not found", "gcc"),
        ("/bin/sh: line 3: exec: cargo: not found", "cargo"),
        ("build.sh: line 2: make: command not found", "make"),
        ("error: command 'gcc' failed: No such file or directory", "gcc"),
        ("      error: command 'x86_64-linux-gnu-g++' failed: No such file or directory", "g++"),
        ("unable to execute 'x86_64-linux-gnu-gcc': No such file or directory", "gcc"),
        ("make: g++: No such file or directory", "g++"),
        ("gyp ERR! stack Error: not found: make", "make"),
        ("gyp ERR! find Python You need to install Python; it was not found", "Python"),
        ("error: linker `cc` not found", "cc"),
        ("error: can't find Rust compiler", "Rust"),
        ("CMake must be installed to build the following extensions: _llama", "CMake"),
        ("npm error Error: spawn git ENOENT", "git"),
    ],
)
def test_the_tool_that_is_missing_is_named(line: str, tool: str):
    assert tool_missing(["Collecting it", line, "", "npm error A complete log of this run is in a file"]) == tool


@pytest.mark.parametrize(
    "line",
    [
        "make sure that the file is there: not found",
        "ERROR: Could not find a version that satisfies the requirement numpy==99 (from versions: none)",
        "npm error 404 Not Found - GET https://packages.example/nothing",
        "error: command 'gcc' failed with exit code 1",
        "FileNotFoundError: [Errno 2] No such file or directory: 'requirements.txt'",
    ],
)
def test_other_failures_name_none(line: str):
    assert tool_missing([line]) == ""
