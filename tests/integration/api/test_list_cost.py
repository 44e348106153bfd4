"""What a page of a list reads of PostgreSQL's rows does not grow with the hundred thousand that there are."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fixtures.databases import own_database
from tests.fixtures.servers import Postgres

PROBE = Path(__file__).with_name("list_probe.py").read_text()
RUNS = 100_000
# A window of a thousand looked at, a thousand counted; where half of the rows are wanted, twice as many are read.
MOST_ROWS_READ = 8_000


def test_a_page_reads_a_bounded_number_of_rows_whatever_is_asked_for(postgres: Postgres, tmp_path: Path):
    database = own_database(postgres, tmp_path / "var")
    read = json.loads(database.answer(PROBE, str(RUNS)).splitlines()[-1])
    print("\n".join(f"{rows:>7} {query}" for query, rows in read.items()))
    assert len(read) > 10
    assert {query: rows for query, rows in read.items() if rows > MOST_ROWS_READ} == {}
