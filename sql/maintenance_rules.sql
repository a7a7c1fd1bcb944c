-- How sessions are recognised by name: the built-in rules, and the user's own beside them.

CREATE TABLE lockguard.maintenance_rules (
    name             text NOT NULL,
    class            text NOT NULL CONSTRAINT maintenance_rules_class_exists CHECK (class IN ('vacuum', 'analyze', 'index_build', 'cluster', 'backup',
                                                    'repack', 'logical_sync', 'copy_out')),
    application_name text,
    usename          text,
    backend_type     text,
    query            text,
    client_addr      text,
    comment          text,
    builtin          boolean NOT NULL DEFAULT false,
    -- Apart: a built-in rule that comes with an update may have the name of a user's own.
    CONSTRAINT maintenance_rules_pkey PRIMARY KEY (builtin, name),
    CONSTRAINT maintenance_rules_has_a_pattern
        CHECK (num_nonnulls(application_name, usename, backend_type, query, client_addr) > 0)
);

COMMENT ON TABLE lockguard.maintenance_rules IS
    'How lockguard recognises maintenance by name. A rule gives its class to the sessions that match all its patterns (* any characters, ? one; case-sensitive); what the server itself knows of a session counts first.';
COMMENT ON COLUMN lockguard.maintenance_rules.name IS 'a name of your choice';
COMMENT ON COLUMN lockguard.maintenance_rules.class IS 'the class of the sessions that match: vacuum, analyze, index_build, cluster, backup, repack, logical_sync or copy_out';
COMMENT ON COLUMN lockguard.maintenance_rules.application_name IS 'pattern over pg_stat_activity.application_name; anyone can set that name, so it identifies the honest only';
COMMENT ON COLUMN lockguard.maintenance_rules.usename IS 'pattern over pg_stat_activity.usename';
COMMENT ON COLUMN lockguard.maintenance_rules.backend_type IS 'pattern over pg_stat_activity.backend_type';
COMMENT ON COLUMN lockguard.maintenance_rules.query IS 'pattern over pg_stat_activity.query';
COMMENT ON COLUMN lockguard.maintenance_rules.client_addr IS 'pattern over pg_stat_activity.client_addr, as text without a netmask (10.0.*, not 10.0.0.0/16)';
COMMENT ON COLUMN lockguard.maintenance_rules.comment IS 'what the rule is for';
COMMENT ON COLUMN lockguard.maintenance_rules.builtin IS 'the rule comes with the extension: it is neither changed nor dumped';
COMMENT ON CONSTRAINT maintenance_rules_pkey ON lockguard.maintenance_rules IS 'each name once among the user''s rules, and once among the built-in ones';
COMMENT ON CONSTRAINT maintenance_rules_class_exists ON lockguard.maintenance_rules IS 'the classes that a name can tell; the others the server itself knows';
COMMENT ON CONSTRAINT maintenance_rules_has_a_pattern ON lockguard.maintenance_rules IS 'a rule without a pattern would match everybody';

INSERT INTO lockguard.maintenance_rules (name, class, application_name, backend_type, comment, builtin) VALUES
    ('pg_dump',             'backup', 'pg_dump',                   NULL, 'PostgreSQL''s own', true),
    ('pg_dumpall',          'backup', 'pg_dumpall',                NULL, 'PostgreSQL''s own', true),
    ('heroku',              'backup', 'Heroku Postgres Backups*',  NULL, 'Heroku''s scheduled and manual backups', true),
    ('pg_back',             'backup', 'pg_back',                   NULL, 'orgrim/pg_back', true),
    ('barman',              'backup', 'barman*',                   NULL, 'Barman', true),
    ('pgbackrest',          'backup', 'pgBackRest*',               NULL, 'pgBackRest', true),
    ('wal-g',               'backup', 'wal-g*',                    NULL, 'WAL-G', true),
    ('pg_probackup',        'backup', 'pg_probackup',              NULL, 'pg_probackup', true),
    ('pg_repack',           'repack', 'pg_repack*',                NULL, 'pg_repack', true),
    ('pg_squeeze',          'repack', NULL,                        '*squeeze*worker*', 'pg_squeeze''s background workers', true),
    ('tablesync_publisher', 'logical_sync', 'pg_*_sync_*',         'walsender', 'initial copy of logical replication, on the publisher between its statements', true),
    ('tablesync_worker',    'logical_sync', NULL,                  'logical replication tablesync worker', 'initial copy of logical replication, on the subscriber (17 and later)', true);

CREATE FUNCTION lockguard.protect_builtin_rules() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'protect_builtin_rules_wrapper';
COMMENT ON FUNCTION lockguard.protect_builtin_rules() IS
    'Refuses to change, add or remove built-in rules, save in CREATE and ALTER EXTENSION.';

CREATE TRIGGER protect_builtin_rules
    BEFORE INSERT OR UPDATE OR DELETE ON lockguard.maintenance_rules
    FOR EACH ROW EXECUTE FUNCTION lockguard.protect_builtin_rules();

CREATE TRIGGER protect_builtin_rules_from_truncate
    BEFORE TRUNCATE ON lockguard.maintenance_rules
    FOR EACH STATEMENT EXECUTE FUNCTION lockguard.protect_builtin_rules();

COMMENT ON TRIGGER protect_builtin_rules ON lockguard.maintenance_rules IS 'built-in rules are not changed';
COMMENT ON TRIGGER protect_builtin_rules_from_truncate ON lockguard.maintenance_rules IS 'built-in rules are not truncated away';

-- A dump has the user's rules; the extension brings its own.
SELECT pg_catalog.pg_extension_config_dump('lockguard.maintenance_rules', 'WHERE NOT builtin');
