"""What is read out of PostgreSQL's log: statements, and how long a row was held."""

from tests.bench.statements import held_ms, parsed, shape


def log(*lines: str) -> list[str]:
    """Lines of a log, each `<seconds> <pid> <ms> <statement>`."""
    return [
        f"{at}|{pid}|bench|LOG:  duration: {ms} ms  statement: {text}"
        for at, pid, ms, text in (line.split(" ", 3) for line in lines)
    ]


def held(*lines: str) -> list[float]:
    return [round(ms) for ms in held_ms(parsed(log(*lines), "bench"), "fleet")]


def test_a_statement_of_several_lines_is_one():
    found = list(parsed([*log("1.0 7 2.5 SELECT 1,"), "\t  2", *log("1.1 7 0.1 SELECT 3")], "bench"))
    assert [statement.text for statement in found] == ["SELECT 1, 2", "SELECT 3"]


def test_other_databases_and_our_own_sessions_do_not_count():
    lines = log("1.0 7 1 SELECT 1", "1.0 8 1 SELECT 2")
    assert list(parsed(lines, "another")) == []
    assert [statement.pid for statement in parsed(lines, "bench", frozenset({8}))] == [7]


def test_what_the_server_says_otherwise_is_no_statement():
    assert list(parsed(["1.0|7|bench|ERROR:  deadlock detected", "starting up"], "bench")) == []


def test_a_prepared_statement_counts_as_well():
    line = "1.0|7|bench|LOG:  duration: 1.5 ms  execute _pg3_0: SELECT 1"
    assert [statement.text for statement in parsed([line], "bench")] == ["SELECT 1"]


def test_a_row_is_held_from_its_lock_until_the_commit():
    lines = ("1.000 7 0 BEGIN", "1.010 7 1 SELECT a FROM fleet FOR NO KEY UPDATE", "1.042 7 2 COMMIT")
    assert held(*lines) == [32]


def test_a_row_is_held_until_a_rollback_too():
    assert held("1.000 7 0 BEGIN", '1.010 7 1 UPDATE "fleet" SET a = 1', "1.015 7 0 ROLLBACK") == [5]


def test_a_part_that_is_undone_does_not_end_the_transaction():
    lines = ("1.000 7 0 BEGIN", '1.010 7 1 UPDATE "fleet" SET a = 1', "1.02 7 0 ROLLBACK TO SAVEPOINT x")
    assert held(*lines, "1.030 7 0 COMMIT") == [20]


def test_a_statement_outside_of_transactions_holds_as_long_as_it_takes():
    assert held("1.000 7 4.0 WITH a AS (UPDATE fleet SET b = 1 RETURNING b) SELECT b FROM a") == [4]


def test_reading_a_row_holds_nothing():
    lines = ("1.000 7 0 BEGIN", "1.010 7 1 SELECT a FROM fleet", "1.042 7 2 COMMIT")
    assert held(*lines) == []


def test_transactions_of_different_sessions_are_kept_apart():
    lines = ("1.00 7 0 BEGIN", "1.00 8 0 BEGIN", "1.01 7 1 UPDATE fleet SET a = 1", "1.02 8 0 COMMIT")
    assert held(*lines, "1.03 7 0 COMMIT") == [20]


def test_a_shape_has_no_values():
    assert shape("SELECT 1 FROM a WHERE b = 'it''s' AND c = 'x'::uuid") == "SELECT ? FROM a WHERE b = ? AND c = ?"


def test_what_is_sent_with_its_commit_counts_whole():
    sent = "SET LOCAL synchronous_commit TO off; UPDATE fleet SET a = 'x; y'; INSERT INTO log VALUES (1); COMMIT"
    lines = ("1.000 7 0 BEGIN", f"1.010 7 4 {sent}", "1.500 7 0 BEGIN", "1.600 7 1 SELECT 1", "1.700 7 0 COMMIT")
    assert held(*lines) == [4]
    [statement] = [each for each in parsed(log(*lines), "bench") if "fleet" in each.text]
    assert statement.count == 2
