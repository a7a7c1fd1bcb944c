-- Guard mode: before each DDL statement of a session that has set lockguard.policy.

CREATE FUNCTION lockguard.guard() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'guard_wrapper';

COMMENT ON FUNCTION lockguard.guard() IS
    'Where lockguard.policy is set: clears the way for the DDL statement that is about to run, and takes its locks, as preempt_maintenance would.';

CREATE EVENT TRIGGER lockguard ON ddl_command_start
    EXECUTE FUNCTION lockguard.guard();

-- A session asks for it by its own setting, also one that replays what another server has done.
ALTER EVENT TRIGGER lockguard ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER lockguard IS
    'Guard mode, in sessions that set lockguard.policy. ALTER EVENT TRIGGER lockguard DISABLE takes it out of every statement''s way.';
