#!/usr/bin/env bash
# django-pglock 1.8.0 (PyPI), PostgreSQL 15. BlockedPGLock has a row for each relation lock of a session that waits, those that it holds
# included, each with the blockers of the one that it waits for: asked who blocks a table that the session has locked already, it names
# somebody who has nothing to do with that table. Of a session that waits for a row, only locks that it holds are listed. And although its
# documentation lists TRANSACTIONID and ADVISORY among the types of PGLock, locks on anything but relations are never listed.
. "$(dirname "$0")/lib.sh"
start_server
python_with django==5.2.19 psycopg==3.3.9 psycopg-binary==3.3.9 django-pgactivity==1.8.0 django-pglock==1.8.0

cat >"$folder/look.py" <<'PYTHON'
import os
import threading
import time

import django
import psycopg
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": os.environ["PGHOST"]}},
    INSTALLED_APPS=["pgactivity", "pglock"],
)
django.setup()
from pglock.models import BlockedPGLock, PGLock  # noqa: E402


def session():
    return psycopg.connect("", autocommit=True)


ours, holder, waiter = session(), session(), session()
ours.execute("CREATE TABLE mine (id int); CREATE TABLE yours (id int); INSERT INTO yours VALUES (1)")


def blocked_while(statement):
    thread = threading.Thread(target=waiter.execute, args=(statement,))
    thread.start()
    while ours.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] == 0:
        time.sleep(0.02)
    rows = sorted((lock.rel_name, "granted" if lock.granted else "awaited") for lock in BlockedPGLock.objects.all())
    kinds = sorted(set(PGLock.objects.values_list("type", flat=True)))
    holder.execute("ROLLBACK")
    thread.join()
    waiter.execute("ROLLBACK")
    return ", ".join(f"{table} {state}" for table, state in rows), kinds


holder.execute("BEGIN; LOCK TABLE yours")
waiter.execute("BEGIN; LOCK TABLE mine")
print("a table:", blocked_while("LOCK TABLE yours")[0])
holder.execute("BEGIN; UPDATE yours SET id = 2; SELECT pg_advisory_xact_lock(1)")
rows, kinds = blocked_while("BEGIN; UPDATE yours SET id = 3")
print("a row:", rows)
print("types:", ", ".join(kinds))
PYTHON
"$folder/python/bin/python" "$folder/look.py" >"$folder/answers"
answer() { sed -n "s/^$1: //p" "$folder/answers"; }

seen "blocked locks of a session that has locked mine and waits for yours" "$(answer 'a table')" "mine granted, yours awaited"
seen "blocked locks of a session that waits for a row of yours" "$(answer 'a row')" "yours granted, yours granted"
seen "types of locks while a transaction is waited for and an advisory lock is held" "$(answer types)" "RELATION, TUPLE"
