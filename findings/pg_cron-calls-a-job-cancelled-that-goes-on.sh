#!/usr/bin/env bash
# pg_cron 1.4.2 (Debian 12, postgresql-15-cron), PostgreSQL 15. A job that is unscheduled while it runs is recorded at once as failed, "job
# canceled"; its session is not cancelled: the statement goes on to its end, and holds its locks for as long. Expected: that what the
# record says has happened. Who looks for the job's lock in cron.job_run_details finds nobody; pg_stat_activity has the session.
. "$(dirname "$0")/lib.sh"
start_server "shared_preload_libraries = 'pg_cron'" "cron.host = '$folder/socket'" -- postgresql-15-cron=1.4.2-2+b1
query "CREATE EXTENSION pg_cron" >/dev/null
query "CREATE TABLE events (id int)"
# Jobs start with the minute.
job=$(query "SELECT cron.schedule('slow', '* * * * *', 'LOCK TABLE events; SELECT pg_sleep(300)')")
for _ in 1 2; do until_true "SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'running'" && break; done
until_true "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'events'::regclass"
query "SELECT cron.unschedule($job)" >/dev/null
until_true "SELECT count(*) = 0 FROM cron.job_run_details WHERE status = 'running'"

seen "the record" "$(query "SELECT status || ', ' || return_message FROM cron.job_run_details")" "failed, job canceled"
sleep 5
seen "the session five seconds later" "$(query "SELECT state FROM pg_stat_activity WHERE application_name = 'pg_cron'")" active
seen "its lock" "$(query "SELECT mode FROM pg_locks WHERE relation = 'events'::regclass AND granted")" AccessExclusiveLock
