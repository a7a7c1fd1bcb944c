-- Who may use what. The functions signal with the caller's own rights and show what pg_stat_activity
-- would, so that everybody may call them; the rules decide what counts as maintenance, and belong to
-- the extension's owner.

GRANT USAGE ON SCHEMA lockguard TO PUBLIC;
GRANT SELECT ON lockguard.maintenance_rules TO PUBLIC;
REVOKE ALL ON FUNCTION lockguard.protect_builtin_rules() FROM PUBLIC;
REVOKE ALL ON FUNCTION lockguard.guard() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.blockers_of(regclass[], text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.preempt_maintenance(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.locks_of(text) TO PUBLIC;
