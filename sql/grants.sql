-- Who may use what. The functions signal with the caller's own rights, or with those that a stored policy
-- lends him, and show what pg_stat_activity would, so that everybody may call them; the rules decide what
-- counts as maintenance, and belong to the extension's owner. The trail is read through a view that
-- shows each role its own, and nobody but the extension's owner writes it by hand.

-- ALTER DEFAULT PRIVILEGES may have given others more than is meant for anybody. Every operator meets its
-- exact types, so that none in the search path is preferred.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN
        SELECT c.oid::regclass AS relation, c.relkind, coalesce(r.rolname, 'public') AS grantee, a.grantee AS number
        FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE c.relnamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid AND a.grantee <> c.relowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s',
            CASE WHEN found.relkind = 'S'::pg_catalog."char" THEN 'SEQUENCE' ELSE 'TABLE' END, found.relation,
            CASE WHEN found.number = 0::pg_catalog.oid THEN 'PUBLIC' ELSE pg_catalog.quote_ident(found.grantee) END);
    END LOOP;
    FOR found IN
        SELECT p.oid::regprocedure AS function, coalesce(r.rolname, 'public') AS grantee, a.grantee AS number
        FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE p.pronamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid AND a.grantee <> p.proowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s', found.function,
            CASE WHEN found.number = 0::pg_catalog.oid THEN 'PUBLIC' ELSE pg_catalog.quote_ident(found.grantee) END);
    END LOOP;
END $$;

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
