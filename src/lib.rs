//! lockguard: who stands in the way of a lock, and preempting maintenance only.

::pgrx::pg_module_magic!(name, version);
