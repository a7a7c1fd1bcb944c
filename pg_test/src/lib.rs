//! Throw-away PostgreSQL clusters with the extension in them.
