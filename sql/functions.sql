-- The SQL surface, seen whole.

CREATE FUNCTION lockguard.blockers_of(
    relations regclass[],
    mode text DEFAULT 'AccessExclusiveLock'
) RETURNS TABLE (
    relation regclass,
    pid integer,
    gid text,
    mode text,
    granted boolean,
    class text,
    preempt text,
    usename name,
    application_name text,
    client_addr inet,
    backend_type text,
    state text,
    wait_event_type text,
    wait_event text,
    backend_start timestamptz,
    xact_start timestamptz,
    query_start timestamptz,
    progress double precision,
    eta interval,
    blocked_by integer[],
    query text
)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'blockers_of_wrapper';

COMMENT ON FUNCTION lockguard.blockers_of(regclass[], text) IS
    'Who stands in the way of a lock of that mode on those relations, their indexes, TOAST tables, partitions and children: one row a session (or prepared transaction) and relation. Takes no lock on them and never waits.';

CREATE FUNCTION lockguard.preempt_maintenance(
    policy jsonb
) RETURNS TABLE (
    relation regclass,
    pid integer,
    class text,
    usename name,
    application_name text,
    verdict text,
    waited interval,
    reason text,
    query text
)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'preempt_maintenance_wrapper';

COMMENT ON FUNCTION lockguard.preempt_maintenance(jsonb) IS
    'Makes the way to a lock free by preempting only what the policy calls maintenance, never in vain, and in a transaction block takes the lock: one row for each session that stood in the way.';

CREATE FUNCTION lockguard.locks_of(
    statement text
) RETURNS TABLE (
    statement integer,
    relation regclass,
    mode text,
    reason text
)
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'locks_of_wrapper';

COMMENT ON FUNCTION lockguard.locks_of(text) IS
    'Which existing relations the statements would lock, how strongly and why: read by the server''s own parser and from its catalogs, without running them. Takes no lock on those relations and never waits. A row without a relation tells what cannot be seen ahead.';
