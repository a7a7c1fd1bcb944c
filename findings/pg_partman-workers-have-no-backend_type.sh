#!/usr/bin/env bash
# pg_partman 4.7.2 (Debian 12, postgresql-15-partman), PostgreSQL 15. The type of its dynamic background workers is never set: backend_type in
# pg_stat_activity is not "pg_partman ..." but some bytes, which need not even be valid in the database's encoding. Only
# application_name tells what it is. A rule that looks for backend_type, which for most background workers is their name, never finds them.
. "$(dirname "$0")/lib.sh"
start_server "shared_preload_libraries = 'pg_partman_bgw'" "pg_partman_bgw.interval = 2" "pg_partman_bgw.role = 'postgres'" \
    "pg_partman_bgw.dbname = 'postgres'" -- postgresql-15-partman=4.7.2-1
query "CREATE SCHEMA partman" && query "CREATE EXTENSION pg_partman SCHEMA partman"
query "CREATE TABLE events (id int, at timestamptz NOT NULL) PARTITION BY RANGE (at)"
query "SELECT partman.create_parent('public.events', 'at', 'native', 'daily')" >/dev/null
# So that a worker stays long enough to be looked at.
"$server/bin/psql" -Xqc "BEGIN; LOCK TABLE events; SELECT pg_sleep(60)" >/dev/null 2>&1 &
holder=$!
until_true "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE 'pg_partman%' AND wait_event_type = 'Lock'"

seen "application_name" "$(query "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE 'pg_partman%'")" "pg_partman dynamic background worker"
# By its bytes, for it may be no valid text.
seen "backend_type names it" \
    "$(query "SELECT bool_or(pg_catalog.textsend(backend_type) LIKE '%partman%'::bytea) FROM pg_stat_activity WHERE application_name LIKE 'pg_partman%'")" f
kill "$holder" 2>/dev/null || true
