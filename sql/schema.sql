-- The extension's own schema. Creating it here makes it part of the extension, and refuses one that
-- somebody else made before.

CREATE SCHEMA lockguard;
COMMENT ON SCHEMA lockguard IS 'lockguard: who stands in the way of a lock, and preempting maintenance';
