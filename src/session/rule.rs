//! A row of `lockguard.maintenance_rules`: how a class is recognised by name.

use super::{Class, Session};
use crate::pattern::Pattern;

/// Recognises sessions of one class by patterns, all of which must match. At least one is given.
#[derive(Clone, Debug)]
pub struct MaintenanceRule {
    pub class: Class,
    pub application_name: Option<Pattern>,
    pub usename: Option<Pattern>,
    pub backend_type: Option<Pattern>,
    pub query: Option<Pattern>,
    pub client_addr: Option<Pattern>,
}

impl MaintenanceRule {
    /// Whether it recognises the session, judged by the full truth of it.
    pub fn recognises(&self, session: &Session) -> bool {
        let criteria = [
            (&self.application_name, &session.application_name),
            (&self.usename, &session.usename),
            (&self.backend_type, &session.backend_type),
            (&self.query, &session.query),
            (&self.client_addr, &session.client_addr),
        ];
        let mut given = criteria
            .iter()
            .filter_map(|(pattern, value)| Some((pattern.as_ref()?, value)));
        criteria.iter().any(|(pattern, _)| pattern.is_some())
            && given.all(|(pattern, value)| value.as_deref().is_some_and(|v| pattern.matches(v)))
    }

    /// Whether it looks only at what `pg_stat_activity` shows everybody.
    pub fn is_by_public_facts(&self) -> bool {
        self.backend_type.is_none() && self.query.is_none() && self.client_addr.is_none()
    }
}
