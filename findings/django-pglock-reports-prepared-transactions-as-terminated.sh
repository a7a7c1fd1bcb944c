#!/usr/bin/env bash
# django-pglock 1.8.0 (PyPI), PostgreSQL 15. pg_blocking_pids gives 0 for a prepared transaction. terminate_blocking_activity() passes that on to
# pg_terminate_backend, which warns and ends nobody, and reports it as handled; the lock is held as before. With the blocker's activity joined in
# (select_related) the row vanishes, and nobody seems to block.
. "$(dirname "$0")/lib.sh"
start_server "max_prepared_transactions = 5"
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
from pglock.models import BlockedPGLock  # noqa: E402

ours, waiter = psycopg.connect("", autocommit=True), psycopg.connect("", autocommit=True)
ours.execute("CREATE TABLE events (id int)")
ours.execute("BEGIN; LOCK TABLE events; PREPARE TRANSACTION 'p'")
thread = threading.Thread(target=waiter.execute, args=("SELECT * FROM events",))
thread.start()
waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
while ours.execute(waits).fetchone()[0] == 0:
    time.sleep(0.02)
locks = BlockedPGLock.objects.all()
print("rows:", locks.count())
print("joined:", len(locks.select_related("blocking_activity")))
print("terminated:", list(locks.terminate_blocking_activity()))
print("waiting:", ours.execute(waits).fetchone()[0])
ours.execute("ROLLBACK PREPARED 'p'")
thread.join()
PYTHON
"$folder/python/bin/python" "$folder/look.py" >"$folder/answers" 2>/dev/null
answer() { sed -n "s/^$1: //p" "$folder/answers"; }

seen "blocked locks" "$(answer rows)" 1
seen "the same with the blocker's activity" "$(answer joined)" 0
seen "reported as terminated" "$(answer terminated)" "[0]"
seen "sessions that still wait" "$(answer waiting)" 1
