-- Who may use what. The functions signal with the caller's own rights, or with those that a stored policy
-- lends him, and show what pg_stat_activity would, so that everybody may call them; the rules decide what
-- counts as maintenance, and belong to the extension's owner. The trail is read through a view that
-- shows each role its own, and nobody but the extension's owner writes it by hand.

GRANT USAGE ON SCHEMA lockguard TO PUBLIC;
GRANT SELECT ON lockguard.maintenance_rules TO PUBLIC;
GRANT SELECT ON lockguard.policies, lockguard.policy_loans TO PUBLIC;
GRANT SELECT ON lockguard.preemptions, lockguard.owed TO PUBLIC;
REVOKE ALL ON FUNCTION lockguard.protect_builtin_rules() FROM PUBLIC;
REVOKE ALL ON FUNCTION lockguard.guard() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.blockers_of(regclass[], text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.preempt_maintenance(jsonb) TO PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.locks_of(text) TO PUBLIC;
-- These ask for themselves who may: the database's owner changes, and so do the owners of policies.
GRANT EXECUTE ON FUNCTION lockguard.store_policy(text, jsonb, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.drop_policy(text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.lend_policy(text, name) TO PUBLIC;
GRANT EXECUTE ON FUNCTION lockguard.revoke_policy(text, name) TO PUBLIC;
-- And this one settles only what its caller may read.
GRANT EXECUTE ON FUNCTION lockguard.settle(bigint) TO PUBLIC;
