#!/usr/bin/env bash
# pg_activity 3.6.2 (PyPI), PostgreSQL 15. Its "blocking" view lists every session that holds any lock on a relation for which somebody
# waits, without asking whether the modes conflict; and it leaves out blockers that hold no relation lock as a session: holders of advisory
# locks, prepared transactions, and requests that are queued ahead. Whoever ends sessions by that view (it has a key for that) ends a
# reader that is in nobody's way. Expected: the sessions that pg_blocking_pids names.
. "$(dirname "$0")/lib.sh"
start_server "max_prepared_transactions = 5"
python_with pg-activity==3.6.2 psycopg==3.3.9 psycopg-binary==3.3.9

cat >"$folder/look.py" <<'PYTHON'
import os
import threading
import time

import psycopg
from pgactivity.data import Data

look = Data.pg_connect(0.0, host=os.environ["PGHOST"], port=5432, user="postgres", database="postgres")


def session():
    return psycopg.connect("", autocommit=True)


ours = session()
ours.execute("CREATE TABLE events (id int)")


def while_waiting(statements, name_of):
    """Runs the last statement of each of these until it waits, and tells who is said to block, beside the server's own word."""
    threads = []
    for i, (connection, statement) in enumerate(statements):
        threads.append(threading.Thread(target=connection.execute, args=(statement,)))
        threads[-1].start()
        while ours.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] <= i:
            time.sleep(0.02)
    told = sorted({name_of.get(p.pid, "?") for p in look.pg_get_blocking()})
    pids = ours.execute("SELECT DISTINCT unnest(pg_blocking_pids(pid)) FROM pg_locks WHERE NOT granted").fetchall()
    truth = sorted({name_of.get(pid, "a prepared transaction" if pid == 0 else "?") for (pid,) in pids})
    return threads, f"{', '.join(told) or 'nobody'} / {', '.join(truth)}"


def compare(what, holders, waiters, end):
    connections = {name: session() for name in [*holders, *waiters]}
    for name, statements in holders.items():
        for statement in statements:
            connections[name].execute(statement)
    names = {c.info.backend_pid: name for name, c in connections.items()}
    threads, answer = while_waiting([(connections[name], statement) for name, statement in waiters.items()], names)
    print(f"{what}: {answer}")
    end(connections)
    for thread in threads:
        thread.join()
    for connection in connections.values():
        connection.close()


maintenance = "LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE"
compare(
    "two maintenance locks and a reader",
    {"maintenance": ["BEGIN", maintenance], "reader": ["BEGIN", "SELECT * FROM events"]},
    {"second": f"BEGIN; {maintenance}"},
    lambda c: c["maintenance"].execute("ROLLBACK"),
)
compare(
    "a queued ALTER",
    {"reader": ["BEGIN", "SELECT * FROM events"]},
    {"alter": "ALTER TABLE events ADD COLUMN IF NOT EXISTS note text", "late reader": "SELECT * FROM events"},
    lambda c: c["reader"].execute("ROLLBACK"),
)
compare(
    "a prepared transaction",
    {"preparer": ["BEGIN", "LOCK TABLE events", "PREPARE TRANSACTION 'p'"]},
    {"reader": "SELECT * FROM events"},
    lambda c: c["preparer"].execute("ROLLBACK PREPARED 'p'"),
)
compare(
    "an advisory lock",
    {"holder": ["SELECT pg_advisory_lock(1)"]},
    {"waiter": "SELECT pg_advisory_lock(1)"},
    lambda c: c["holder"].execute("SELECT pg_advisory_unlock(1)"),
)
PYTHON
"$folder/python/bin/python" "$folder/look.py" >"$folder/answers"
answer() { sed -n "s/^$1: //p" "$folder/answers"; }

seen "pg_activity / the server, two maintenance locks and a reader" "$(answer 'two maintenance locks and a reader')" "maintenance, reader / maintenance"
seen "pg_activity / the server, a queued ALTER" "$(answer 'a queued ALTER')" "reader / alter, reader"
seen "pg_activity / the server, a prepared transaction" "$(answer 'a prepared transaction')" "nobody / a prepared transaction"
seen "pg_activity / the server, an advisory lock" "$(answer 'an advisory lock')" "nobody / holder"
