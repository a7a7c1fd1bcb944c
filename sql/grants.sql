-- Who may use what. The functions signal with the caller's own rights, or with those that a stored policy
-- lends him, and show what pg_stat_activity would, so that everybody may call them; the rules decide what
-- counts as maintenance, and belong to the extension's owner. The trail is read through a view that
-- shows each role its own, and nobody but the extension's owner writes it by hand.

-- ALTER DEFAULT PRIVILEGES may have given others more than is meant for anybody, CREATE on the schema for one, and may
-- have taken something from the owner, or from everybody. So all is taken back from everybody, the owner included, who is
-- then given what owners have. Every operator meets its exact types, so that none in the search path is preferred.
DO $$
DECLARE
    found record;
    grantee record;
BEGIN
    FOR found IN
        SELECT 'SCHEMA' AS kind, pg_catalog.quote_ident(n.nspname) AS name, n.nspowner AS owner,
               coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)) AS acl
        FROM pg_catalog.pg_namespace n WHERE n.nspname = 'lockguard'::pg_catalog.name
        UNION ALL
        SELECT CASE WHEN c.relkind = 'S'::pg_catalog."char" THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass::pg_catalog.text, c.relowner,
               coalesce(c.relacl, pg_catalog.acldefault(
                   CASE WHEN c.relkind = 'S'::pg_catalog."char" THEN 's'::pg_catalog."char" ELSE 'r'::pg_catalog."char" END, c.relowner))
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid
          AND c.relkind = ANY ('{r,v,S}'::pg_catalog."char"[])
        UNION ALL
        SELECT 'ROUTINE', p.oid::pg_catalog.regprocedure::pg_catalog.text, p.proowner,
               coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
        FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid
        UNION ALL
        SELECT 'TYPE', t.oid::pg_catalog.regtype::pg_catalog.text, t.typowner, t.typacl
        FROM pg_catalog.pg_type t
        WHERE t.typnamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid AND t.typacl IS NOT NULL
    LOOP
        FOR grantee IN
            SELECT DISTINCT a.grantee AS number, r.rolname AS name
            FROM pg_catalog.aclexplode(found.acl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        LOOP
            EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s', found.kind, found.name,
                CASE WHEN grantee.number = 0::pg_catalog.oid THEN 'PUBLIC' ELSE pg_catalog.quote_ident(grantee.name) END);
        END LOOP;
        EXECUTE pg_catalog.format('GRANT ALL ON %s %s TO %I', found.kind, found.name, pg_catalog.pg_get_userbyid(found.owner));
        IF found.kind OPERATOR(pg_catalog.=) 'TYPE' THEN
            EXECUTE pg_catalog.format('GRANT USAGE ON TYPE %s TO PUBLIC', found.name);
        END IF;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA lockguard TO PUBLIC;
GRANT SELECT ON lockguard.maintenance_rules TO PUBLIC;
GRANT SELECT ON lockguard.policies, lockguard.policy_loans TO PUBLIC;
GRANT SELECT ON lockguard.preemptions, lockguard.owed TO PUBLIC;
GRANT SELECT ON lockguard.guarding TO PUBLIC;
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
GRANT EXECUTE ON FUNCTION lockguard.guarded() TO PUBLIC;

-- That this is how it has become, whatever the defaults were: each object with what others than its owner may, as
-- pg_test/SECURITY.md has it, and the owner with all that owners may.
DO $$
DECLARE
    difference record;
BEGIN
    WITH reviewed (object, granted) AS (VALUES
        ('schema lockguard', 'PUBLIC: USAGE'),
        ('function lockguard.blockers_of(regclass[],text)', 'PUBLIC: EXECUTE'),
        ('function lockguard.locks_of(text)', 'PUBLIC: EXECUTE'),
        ('function lockguard.preempt_maintenance(jsonb)', 'PUBLIC: EXECUTE'),
        ('function lockguard.store_policy(text,jsonb,text)', 'PUBLIC: EXECUTE'),
        ('function lockguard.drop_policy(text)', 'PUBLIC: EXECUTE'),
        ('function lockguard.lend_policy(text,name)', 'PUBLIC: EXECUTE'),
        ('function lockguard.revoke_policy(text,name)', 'PUBLIC: EXECUTE'),
        ('function lockguard.settle(bigint)', 'PUBLIC: EXECUTE'),
        ('function lockguard.set_ceiling(text)', 'nobody'),
        ('function lockguard.guard()', 'nobody'),
        ('function lockguard.guarded()', 'PUBLIC: EXECUTE'),
        ('function lockguard.enable_guard()', 'nobody'),
        ('function lockguard.disable_guard()', 'nobody'),
        ('function lockguard.warn_unguarded()', 'nobody'),
        ('function lockguard.protect_builtin_rules()', 'nobody'),
        ('table lockguard.maintenance_rules', 'PUBLIC: SELECT'),
        ('table lockguard.policies', 'PUBLIC: SELECT'),
        ('table lockguard.policy_loans', 'PUBLIC: SELECT'),
        ('table lockguard.guarding', 'PUBLIC: SELECT'),
        ('table lockguard.trail', 'nobody'),
        ('sequence lockguard.trail_id_seq', 'nobody'),
        ('view lockguard.preemptions', 'PUBLIC: SELECT'),
        ('view lockguard.owed', 'PUBLIC: SELECT'),
        ('row types in lockguard', 'PUBLIC: USAGE')
    ), existing (object, owner, acl, defaults) AS (
        SELECT 'schema lockguard', n.nspowner, n.nspacl, pg_catalog.acldefault('n', n.nspowner)
        FROM pg_catalog.pg_namespace n WHERE n.nspname = 'lockguard'::pg_catalog.name
        UNION ALL
        SELECT CASE c.relkind WHEN 'S'::pg_catalog."char" THEN 'sequence ' WHEN 'v'::pg_catalog."char" THEN 'view ' ELSE 'table ' END
                   || c.oid::pg_catalog.regclass::pg_catalog.text,
               c.relowner, c.relacl,
               pg_catalog.acldefault(CASE c.relkind WHEN 'S'::pg_catalog."char" THEN 's'::pg_catalog."char" ELSE 'r'::pg_catalog."char" END, c.relowner)
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid AND c.relkind <> ALL ('{i,I,t}'::pg_catalog."char"[])
        UNION ALL
        SELECT 'function ' || p.oid::pg_catalog.regprocedure::pg_catalog.text, p.proowner, p.proacl, pg_catalog.acldefault('f', p.proowner)
        FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid
        UNION ALL
        SELECT 'row types in lockguard', t.typowner, t.typacl, pg_catalog.acldefault('T', t.typowner)
        FROM pg_catalog.pg_type t WHERE t.typnamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid
        UNION ALL
        -- Rights to columns are no object's default.
        SELECT 'column ' || a.attrelid::pg_catalog.regclass::pg_catalog.text || '.' || a.attname::pg_catalog.text, c.relowner, a.attacl, '{}'::pg_catalog.aclitem[]
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'lockguard'::pg_catalog.regnamespace::pg_catalog.oid AND a.attacl IS NOT NULL
    ), given (object, granted) AS (
        SELECT DISTINCT e.object,
               coalesce((SELECT pg_catalog.string_agg(g.who || ': ' || g.what, '; ' ORDER BY g.who) FROM (
                   SELECT CASE a.grantee WHEN 0::pg_catalog.oid THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END AS who,
                          pg_catalog.string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, ', '
                                                ORDER BY a.privilege_type) AS what
                   FROM pg_catalog.aclexplode(coalesce(e.acl, e.defaults)) a WHERE a.grantee <> e.owner GROUP BY a.grantee) g), 'nobody')
               || CASE WHEN EXISTS (
                   SELECT o.privilege_type FROM pg_catalog.aclexplode(e.defaults) o WHERE o.grantee = e.owner
                   EXCEPT
                   SELECT o.privilege_type FROM pg_catalog.aclexplode(coalesce(e.acl, e.defaults)) o WHERE o.grantee = e.owner)
                  THEN '; not all to the owner' ELSE '' END
        FROM existing e
    )
    SELECT coalesce(g.object, r.object) AS object, g.granted AS given, r.granted AS reviewed INTO difference
    FROM given g FULL JOIN reviewed r ON r.object = g.object
    WHERE g.granted IS DISTINCT FROM r.granted
    ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the rights to % are not as reviewed', difference.object
            USING DETAIL = pg_catalog.format('Granted: %s; reviewed: %s.', difference.given, difference.reviewed);
    END IF;
END $$;
