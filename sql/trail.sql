-- The trail: a row for each signal, written by a background worker in a transaction of its own.
-- It is this server's own history: a dump leaves it out.

CREATE TABLE lockguard.trail (
    id                      bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT trail_pkey PRIMARY KEY,
    signalled_at            timestamptz NOT NULL,
    label                   text,
    policy                  text,
    policy_owner            oid NOT NULL,
    role                    oid NOT NULL,
    rolname                 text,
    caller_pid              integer NOT NULL,
    caller_application_name text,
    target                  text NOT NULL,
    relation                text,
    pid                     integer NOT NULL,
    backend_start           timestamptz,
    usename                 text,
    application_name        text,
    client_addr             inet,
    class                   text,
    class_is_public         boolean NOT NULL,
    transaction_age         interval,
    query                   text,
    caller_sees             boolean NOT NULL,
    signal                  text NOT NULL,
    outcome                 text NOT NULL,
    freed_after             interval,
    settled_at              timestamptz,
    settled_by              text
);

COMMENT ON TABLE lockguard.trail IS
    'What lockguard.preemptions shows to each role as far as it concerns it. Written by lockguard''s background worker, and by settle.';
COMMENT ON SEQUENCE lockguard.trail_id_seq IS 'the numbers of the rows';
COMMENT ON CONSTRAINT trail_pkey ON lockguard.trail IS 'each row once';

CREATE INDEX trail_unsettled ON lockguard.trail (id) WHERE settled_at IS NULL;
COMMENT ON INDEX lockguard.trail_unsettled IS 'for lockguard.owed';

-- A row is for the role that called, for the owner of the policy, and for pg_monitor; what pg_stat_activity
-- would have hidden from the caller only for the two others.
CREATE VIEW lockguard.preemptions WITH (security_barrier) AS
    SELECT t.id, t.signalled_at, t.label, t.policy, t.rolname, t.caller_pid, t.caller_application_name,
           t.target, t.relation, t.pid,
           CASE WHEN t.caller_sees OR r.sees THEN t.backend_start END AS backend_start,
           t.usename, t.application_name,
           CASE WHEN t.caller_sees OR r.sees THEN t.client_addr END AS client_addr,
           CASE WHEN t.class_is_public OR t.caller_sees OR r.sees THEN t.class END AS class,
           CASE WHEN t.caller_sees OR r.sees THEN t.transaction_age END AS transaction_age,
           CASE WHEN t.caller_sees OR r.sees THEN t.query END AS query,
           t.signal, t.outcome, t.freed_after, t.settled_at, t.settled_by
    FROM lockguard.trail t
    CROSS JOIN LATERAL (SELECT pg_catalog.pg_has_role(t.policy_owner, 'USAGE')
                            OR pg_catalog.pg_has_role('pg_monitor', 'USAGE') AS sees) r
    WHERE r.sees OR pg_catalog.pg_has_role(t.role, 'USAGE');

COMMENT ON VIEW lockguard.preemptions IS
    'The trail: whom lockguard has signalled, when, for what, on whose behalf, and what came of it. Each role sees what it has done itself and what was done through its policies; pg_monitor sees all.';
COMMENT ON COLUMN lockguard.preemptions.id IS 'for lockguard.settle';
COMMENT ON COLUMN lockguard.preemptions.signalled_at IS 'when the signal was sent';
COMMENT ON COLUMN lockguard.preemptions.label IS 'the label in the policy';
COMMENT ON COLUMN lockguard.preemptions.policy IS 'the stored policy, if the call went through one';
COMMENT ON COLUMN lockguard.preemptions.rolname IS 'the role that called, by its name then';
COMMENT ON COLUMN lockguard.preemptions.caller_pid IS 'the process that called';
COMMENT ON COLUMN lockguard.preemptions.caller_application_name IS 'the application_name of the session that called';
COMMENT ON COLUMN lockguard.preemptions.target IS 'what the way was made free for';
COMMENT ON COLUMN lockguard.preemptions.relation IS 'the relation on which the victim was found';
COMMENT ON COLUMN lockguard.preemptions.pid IS 'the victim''s process';
COMMENT ON COLUMN lockguard.preemptions.backend_start IS 'when the victim''s process started';
COMMENT ON COLUMN lockguard.preemptions.usename IS 'the victim''s role';
COMMENT ON COLUMN lockguard.preemptions.application_name IS 'the victim''s application_name';
COMMENT ON COLUMN lockguard.preemptions.client_addr IS 'the victim''s address; none for a Unix socket';
COMMENT ON COLUMN lockguard.preemptions.class IS 'the victim''s class';
COMMENT ON COLUMN lockguard.preemptions.transaction_age IS 'how long the victim''s transaction had lasted';
COMMENT ON COLUMN lockguard.preemptions.query IS 'the victim''s query, as far as the owner of the policy may see it';
COMMENT ON COLUMN lockguard.preemptions.signal IS 'cancel, terminate or yield (an autovacuum worker that the server cancelled for lockguard)';
COMMENT ON COLUMN lockguard.preemptions.outcome IS 'cancelled or terminated where the victim let go; in the way where it had not when more was sent or the call ended; unknown where the calling session did not stay to see';
COMMENT ON COLUMN lockguard.preemptions.freed_after IS 'how long after the signal the lock was seen to be free';
COMMENT ON COLUMN lockguard.preemptions.settled_at IS 'when somebody said that what was lost has been made good';
COMMENT ON COLUMN lockguard.preemptions.settled_by IS 'who said so';

-- What is to be made good. A view asks for its reader's rights, as the one above does.
CREATE VIEW lockguard.owed WITH (security_barrier) AS
    SELECT CASE p.class WHEN 'backup' THEN 'backup' ELSE 'index build' END AS kind,
           p.id, p.signalled_at AS since, p.label, p.relation, p.usename, p.application_name,
           pg_catalog.format(CASE p.class
               WHEN 'backup' THEN 'run the backup again, then SELECT lockguard.settle(%s);'
               ELSE 'build the index again, then SELECT lockguard.settle(%s);'
           END, p.id) AS remedy
    FROM lockguard.preemptions p
    WHERE p.settled_at IS NULL AND p.class IN ('backup', 'index_build') AND p.outcome <> 'in the way'
    UNION ALL
    SELECT 'invalid index', NULL, NULL, NULL, pg_catalog.format('%I.%I', n.nspname, c.relname), NULL, NULL,
           pg_catalog.format('DROP INDEX CONCURRENTLY %1$I.%2$I; or REINDEX INDEX CONCURRENTLY %1$I.%2$I;',
                             n.nspname, c.relname)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    -- One of a partitioned table is invalid until each partition has its own; and one that is being built
    -- is nobody's debt yet.
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index b
                      JOIN pg_catalog.pg_locks l ON l.pid = b.pid
                      WHERE l.locktype = 'relation' AND l.relation = i.indrelid
                        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                                          WHERE d.datname = pg_catalog.current_database())
                        AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted);

COMMENT ON VIEW lockguard.owed IS
    'What lockguard has cost and nobody has made good yet: preempted backups and index builds that are not settled, as far as lockguard.preemptions shows them, and invalid indexes left behind.';
COMMENT ON COLUMN lockguard.owed.kind IS 'backup, index build or invalid index';
COMMENT ON COLUMN lockguard.owed.id IS 'for lockguard.settle; none for an invalid index, which is settled by dropping or rebuilding it';
COMMENT ON COLUMN lockguard.owed.since IS 'when it was preempted';
COMMENT ON COLUMN lockguard.owed.label IS 'the label of the call that did it';
COMMENT ON COLUMN lockguard.owed.relation IS 'the table on which it was found, or the index';
COMMENT ON COLUMN lockguard.owed.usename IS 'whose session it was';
COMMENT ON COLUMN lockguard.owed.application_name IS 'its application_name';
COMMENT ON COLUMN lockguard.owed.remedy IS 'what to do';

CREATE FUNCTION lockguard.settle(id bigint) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'settle_wrapper';

COMMENT ON FUNCTION lockguard.settle(bigint) IS
    'Marks a preemption as made good: the backup has been run again, the index has been built. For whoever may read its row.';
