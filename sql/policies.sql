-- Stored policies, and who may use them. Only the functions write here: they check what is stored, and
-- who stores it. Roles are kept by their numbers, so that one that is renamed stays what it was.

CREATE TABLE lockguard.policies (
    name    text NOT NULL CONSTRAINT policies_pkey PRIMARY KEY,
    owner   regrole NOT NULL,
    policy  jsonb NOT NULL,
    comment text,
    is_ceiling boolean NOT NULL DEFAULT false
);

CREATE UNIQUE INDEX policies_one_ceiling ON lockguard.policies (is_ceiling) WHERE is_ceiling;
COMMENT ON INDEX lockguard.policies_one_ceiling IS 'one ceiling at the most';

COMMENT ON TABLE lockguard.policies IS
    'Stored policies: who uses one preempts with the rights of its owner, and no more than it says. Written by store_policy and drop_policy.';
COMMENT ON COLUMN lockguard.policies.name IS 'its name, for the key "policy" of a call and for the setting lockguard.policy';
COMMENT ON COLUMN lockguard.policies.owner IS 'the role that stored it, and whose rights it lends';
COMMENT ON COLUMN lockguard.policies.policy IS 'the policy, without a target';
COMMENT ON COLUMN lockguard.policies.comment IS 'what it is for';
COMMENT ON COLUMN lockguard.policies.is_ceiling IS 'it bounds every call of every role, whatever policy that has: see set_ceiling';
COMMENT ON CONSTRAINT policies_pkey ON lockguard.policies IS 'each name once';

CREATE TABLE lockguard.policy_loans (
    policy text NOT NULL CONSTRAINT policy_loans_policy_fkey REFERENCES lockguard.policies ON DELETE CASCADE,
    role   regrole NOT NULL,
    CONSTRAINT policy_loans_pkey PRIMARY KEY (policy, role)
);

COMMENT ON TABLE lockguard.policy_loans IS
    'Who may use a stored policy beside the members of its owner: the members of these roles. Written by lend_policy and revoke_policy.';
COMMENT ON COLUMN lockguard.policy_loans.policy IS 'the name of the policy';
COMMENT ON COLUMN lockguard.policy_loans.role IS 'the role that may use it, with its members';
COMMENT ON CONSTRAINT policy_loans_pkey ON lockguard.policy_loans IS 'a policy is lent to a role once';
COMMENT ON CONSTRAINT policy_loans_policy_fkey ON lockguard.policy_loans IS 'loans go with their policy';

-- Roles that have been dropped are left out of a dump: their numbers may be others' where it is restored. Not the
-- ceiling, which lends nothing by itself.
SELECT pg_catalog.pg_extension_config_dump('lockguard.policies',
    'WHERE is_ceiling OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = policies.owner)');
SELECT pg_catalog.pg_extension_config_dump('lockguard.policy_loans',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = policy_loans.role)
       AND EXISTS (SELECT FROM lockguard.policies p JOIN pg_catalog.pg_roles r ON r.oid = p.owner
                   WHERE p.name = policy_loans.policy)');

CREATE FUNCTION lockguard.store_policy(
    name text,
    policy jsonb,
    comment text DEFAULT NULL
) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'store_policy_wrapper';

COMMENT ON FUNCTION lockguard.store_policy(text, jsonb, text) IS
    'Stores a policy under a name, or replaces the one of that name; the current role, a member of the database''s owner, becomes its owner, and lends its rights through it.';

CREATE FUNCTION lockguard.drop_policy(name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'drop_policy_wrapper';

COMMENT ON FUNCTION lockguard.drop_policy(text) IS
    'Drops a stored policy, with all loans of it.';

CREATE FUNCTION lockguard.lend_policy(name text, role name) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'lend_policy_wrapper';

COMMENT ON FUNCTION lockguard.lend_policy(text, name) IS
    'Lets a role and its members use a stored policy: they preempt through it with the rights of its owner.';

CREATE FUNCTION lockguard.revoke_policy(name text, role name) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'revoke_policy_wrapper';

COMMENT ON FUNCTION lockguard.revoke_policy(text, name) IS
    'Takes back what lend_policy has given.';

CREATE FUNCTION lockguard.set_ceiling(name text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'set_ceiling_wrapper';

COMMENT ON FUNCTION lockguard.set_ceiling(text) IS
    'Makes a stored policy the ceiling: whatever policy a call has, and whoever calls, nobody is preempted whom the ceiling would not preempt at that moment, nor harder. NULL takes it away. For superusers.';
