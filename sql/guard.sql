-- Guard mode: before each DDL statement of a session that has set lockguard.policy. A database has it once a
-- superuser has enabled it there, for where the library cannot be loaded the event trigger stops all DDL.

CREATE FUNCTION lockguard.guard() RETURNS event_trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'guard_wrapper';

COMMENT ON FUNCTION lockguard.guard() IS
    'Where lockguard.policy is set: clears the way for the DDL statement that is about to run, and takes its locks, as preempt_maintenance would.';

CREATE TABLE lockguard.guarding (
    enabled_at timestamptz NOT NULL CONSTRAINT guarding_pkey PRIMARY KEY,
    enabled_by text NOT NULL
);

COMMENT ON TABLE lockguard.guarding IS
    'That guard mode is enabled in this database, in a row that a dump keeps. Written by enable_guard and disable_guard.';
COMMENT ON COLUMN lockguard.guarding.enabled_at IS 'when it was enabled';
COMMENT ON COLUMN lockguard.guarding.enabled_by IS 'the superuser who did it, by its name then';
COMMENT ON CONSTRAINT guarding_pkey ON lockguard.guarding IS 'each time once';

-- No dump keeps the state of an extension's event trigger.
SELECT pg_catalog.pg_extension_config_dump('lockguard.guarding', '');

-- In PL/pgSQL, for it must work without the library.
CREATE FUNCTION lockguard.warn_unguarded() RETURNS event_trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    enabled record;
    remark pg_catalog.text := '';
BEGIN
    IF pg_catalog.current_setting('lockguard.policy', true) OPERATOR(pg_catalog.<>) '' THEN
        BEGIN
            IF pg_catalog.lower(pg_catalog.btrim(pg_catalog.current_setting('lockguard.policy', true)))
                   OPERATOR(pg_catalog.=) ANY ('{"",off}'::pg_catalog.text[])
               OR pg_catalog.current_setting('lockguard.told', true) OPERATOR(pg_catalog.=) 'on'
               OR EXISTS (
                   -- Not by regproc, which asks for USAGE on the schema.
                   SELECT FROM pg_catalog.pg_event_trigger t
                   JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.evtfoid
                   JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
                   WHERE n.nspname OPERATOR(pg_catalog.=) 'lockguard'::pg_catalog.name
                     AND p.proname OPERATOR(pg_catalog.=) 'guard'::pg_catalog.name
                     AND t.evtevent OPERATOR(pg_catalog.=) 'ddl_command_start'::pg_catalog.name
                     AND (t.evtenabled OPERATOR(pg_catalog.=) 'A'::pg_catalog."char"
                          OR t.evtenabled OPERATOR(pg_catalog.=)
                             CASE WHEN pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica'
                                  THEN 'R'::pg_catalog."char" ELSE 'O'::pg_catalog."char" END))
            THEN
                RETURN;
            END IF;
            PERFORM pg_catalog.set_config('lockguard.told', 'on', false);
            BEGIN
                SELECT g.enabled_at, g.enabled_by INTO enabled FROM lockguard.guarding g
                ORDER BY g.enabled_at DESC LIMIT 1;
                IF enabled.enabled_at IS NOT NULL THEN
                    remark := pg_catalog.format(' %s enabled it at %s, perhaps in the database that this one was restored from.',
                        enabled.enabled_by, enabled.enabled_at);
                END IF;
            EXCEPTION WHEN OTHERS THEN
                -- Who may not read that is warned all the same.
                NULL;
            END;
            RAISE WARNING 'lockguard.policy is set, but nothing guards the DDL of this session'
                USING DETAIL = pg_catalog.concat('Guard mode is not enabled in this database.', remark),
                      HINT = 'A superuser enables it by SELECT lockguard.enable_guard(); SET lockguard.policy = ''off'' does without.';
        EXCEPTION WHEN OTHERS THEN
            -- A warning that cannot be given must not stop DDL.
            NULL;
        END;
    END IF;
END
$$;

COMMENT ON FUNCTION lockguard.warn_unguarded() IS
    'Where guard mode is not enabled: tells a session that has set lockguard.policy so, once, at its first DDL statement. Needs no library.';

CREATE FUNCTION lockguard.enable_guard() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    trigger record;
BEGIN
    -- By their functions: names are their owner's to change. The one that warns would read catalogs before the other
    -- bounds that by the policy's timeout.
    FOR trigger IN
        SELECT t.evtname, t.evtfoid OPERATOR(pg_catalog.=) 'lockguard.guard'::pg_catalog.regproc::pg_catalog.oid AS guards
        FROM pg_catalog.pg_event_trigger t
        WHERE t.evtevent OPERATOR(pg_catalog.=) 'ddl_command_start'::pg_catalog.name
          AND t.evtfoid OPERATOR(pg_catalog.=) ANY (ARRAY['lockguard.guard'::pg_catalog.regproc::pg_catalog.oid,
                                                          'lockguard.warn_unguarded'::pg_catalog.regproc::pg_catalog.oid])
    LOOP
        EXECUTE pg_catalog.format('ALTER EVENT TRIGGER %I %s', trigger.evtname,
            CASE WHEN trigger.guards THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END);
    END LOOP;
    -- Where the library cannot be loaded this fails, instead of all DDL from now on.
    PERFORM lockguard.locks_of('');
    DELETE FROM lockguard.guarding;
    INSERT INTO lockguard.guarding (enabled_at, enabled_by) VALUES (pg_catalog.now(), CURRENT_USER);
END
$$;

COMMENT ON FUNCTION lockguard.enable_guard() IS
    'Enables guard mode in this database: from then on the DDL of sessions that set lockguard.policy is guarded, and all DDL needs the library. For superusers.';

CREATE FUNCTION lockguard.disable_guard() RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    trigger record;
BEGIN
    FOR trigger IN
        SELECT t.evtname, t.evtfoid OPERATOR(pg_catalog.=) 'lockguard.guard'::pg_catalog.regproc::pg_catalog.oid AS guards
        FROM pg_catalog.pg_event_trigger t
        WHERE t.evtevent OPERATOR(pg_catalog.=) 'ddl_command_start'::pg_catalog.name
          AND t.evtfoid OPERATOR(pg_catalog.=) ANY (ARRAY['lockguard.guard'::pg_catalog.regproc::pg_catalog.oid,
                                                          'lockguard.warn_unguarded'::pg_catalog.regproc::pg_catalog.oid])
    LOOP
        EXECUTE pg_catalog.format('ALTER EVENT TRIGGER %I %s', trigger.evtname,
            CASE WHEN trigger.guards THEN 'DISABLE' ELSE 'ENABLE ALWAYS' END);
    END LOOP;
    DELETE FROM lockguard.guarding;
END
$$;

COMMENT ON FUNCTION lockguard.disable_guard() IS
    'Undoes enable_guard. Works without the library, and so gets DDL going again where that is missing. For superusers.';

-- In PL/pgSQL as well, to tell where the library is what is missing.
CREATE FUNCTION lockguard.guarded() RETURNS TABLE (
    guarded_by text,
    policy text,
    source text,
    missing text,
    remedy text
)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    failure pg_catalog.text;
    trigger record;
    enabled record;
BEGIN
    -- The library knows where the setting comes from.
    IF pg_catalog.has_function_privilege('lockguard.locks_of(text)'::pg_catalog.regprocedure::pg_catalog.oid, 'EXECUTE') THEN
        BEGIN
            PERFORM lockguard.locks_of('');
        EXCEPTION WHEN OTHERS THEN
            failure := SQLERRM;
        END;
    END IF;
    policy := pg_catalog.current_setting('lockguard.policy', true);
    source := (SELECT s.source FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'lockguard.policy');
    SELECT t.evtname, t.evtenabled,
           t.evtenabled OPERATOR(pg_catalog.=) 'A'::pg_catalog."char"
           OR t.evtenabled OPERATOR(pg_catalog.=)
              CASE WHEN pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica'
                   THEN 'R'::pg_catalog."char" ELSE 'O'::pg_catalog."char" END AS fires
    INTO trigger
    FROM pg_catalog.pg_event_trigger t
    WHERE t.evtfoid OPERATOR(pg_catalog.=) 'lockguard.guard'::pg_catalog.regproc::pg_catalog.oid
      AND t.evtevent OPERATOR(pg_catalog.=) 'ddl_command_start'::pg_catalog.name
    ORDER BY 3 DESC, 1 LIMIT 1;
    SELECT g.enabled_at, g.enabled_by INTO enabled FROM lockguard.guarding g ORDER BY g.enabled_at DESC LIMIT 1;

    IF failure IS NOT NULL THEN
        missing := pg_catalog.format('the library cannot be loaded: %s', failure);
        remedy := CASE WHEN trigger.evtenabled OPERATOR(pg_catalog.=) 'D'::pg_catalog."char"
            THEN 'install the library'
            ELSE 'install the library; until then a superuser gets DDL going by SELECT lockguard.disable_guard()' END;
    ELSIF trigger.evtname IS NULL OR trigger.evtenabled OPERATOR(pg_catalog.=) 'D'::pg_catalog."char" THEN
        missing := CASE WHEN enabled.enabled_at IS NULL
            THEN 'guard mode is not enabled in this database'
            ELSE pg_catalog.format('guard mode is off in this database, though %s enabled it at %s, perhaps in the one that this was restored from',
                enabled.enabled_by, enabled.enabled_at) END;
        remedy := 'a superuser enables it by SELECT lockguard.enable_guard()';
    ELSIF NOT trigger.fires THEN
        missing := pg_catalog.format('event trigger %I does not fire under session_replication_role = %s',
            trigger.evtname, pg_catalog.current_setting('session_replication_role'));
        remedy := 'a superuser has it fire always by SELECT lockguard.enable_guard()';
    ELSIF pg_catalog.current_setting('event_triggers', true) OPERATOR(pg_catalog.=) 'off' THEN
        missing := 'event_triggers is off';
        remedy := 'a superuser turns it on by SET event_triggers = on';
    ELSIF NOT pg_catalog.has_function_privilege('lockguard.preempt_maintenance(jsonb)'::pg_catalog.regprocedure::pg_catalog.oid, 'EXECUTE') THEN
        missing := pg_catalog.format('role %I may not execute lockguard.preempt_maintenance(jsonb)', CURRENT_USER);
        remedy := pg_catalog.format('GRANT EXECUTE ON FUNCTION lockguard.preempt_maintenance(jsonb) TO %I', CURRENT_USER);
    ELSIF policy IS NULL
          OR pg_catalog.lower(pg_catalog.btrim(policy)) OPERATOR(pg_catalog.=) ANY ('{"",off}'::pg_catalog.text[]) THEN
        missing := 'lockguard.policy is not set';
        remedy := 'SET lockguard.policy = ''on'', or to a policy';
    ELSE
        guarded_by := pg_catalog.format('event trigger %I', trigger.evtname);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION lockguard.guarded() IS
    'Whether the DDL of this session is guarded, in one row: by what, under which value of lockguard.policy, set where; and if it is not, what is missing and the call that mends it.';

-- Event triggers fire in the order of their names: one that refuses a statement is to be asked before anybody
-- is preempted for it.
CREATE EVENT TRIGGER zzz_lockguard ON ddl_command_start
    EXECUTE FUNCTION lockguard.guard();
ALTER EVENT TRIGGER zzz_lockguard DISABLE;

COMMENT ON EVENT TRIGGER zzz_lockguard IS
    'Guard mode, in sessions that set lockguard.policy, once SELECT lockguard.enable_guard() has enabled it. Should DDL fail with "could not access file $libdir/lockguard", the library is missing: SELECT lockguard.disable_guard(), as superuser, or ALTER EVENT TRIGGER zzz_lockguard DISABLE gets DDL going again.';

CREATE EVENT TRIGGER lockguard_unguarded ON ddl_command_start
    EXECUTE FUNCTION lockguard.warn_unguarded();
-- A session asks for guard mode by its own setting, also one that replays what another server has done.
ALTER EVENT TRIGGER lockguard_unguarded ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER lockguard_unguarded IS
    'Tells a session that has set lockguard.policy that guard mode is not enabled in this database. Off where it is.';
