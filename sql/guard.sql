-- Guard mode: before each DDL statement of a session that has set lockguard.policy.

CREATE FUNCTION lockguard.guard() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'guard_wrapper';

COMMENT ON FUNCTION lockguard.guard() IS
    'Where lockguard.policy is set: clears the way for the DDL statement that is about to run, and takes its locks, as preempt_maintenance would.';

-- Event triggers fire in the order of their names: one that refuses a statement is to be asked before anybody
-- is preempted for it.
CREATE EVENT TRIGGER zzz_lockguard ON ddl_command_start
    EXECUTE FUNCTION lockguard.guard();

-- A session asks for it by its own setting, also one that replays what another server has done.
ALTER EVENT TRIGGER zzz_lockguard ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER zzz_lockguard IS
    'Guard mode, in sessions that set lockguard.policy. ALTER EVENT TRIGGER zzz_lockguard DISABLE takes it out of every statement''s way.';
