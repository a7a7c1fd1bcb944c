//! What class a session is of. Structure (what the server itself knows) before names (what
//! `lockguard.maintenance_rules` says); the first class in the order of [`Class`] that fits counts.
//!
//! A new class: a variant here in its place, its name in `name`, what shows it in `by_structure`
//! or rows in `sql/maintenance_rules.sql`.

use super::{MaintenanceRule, Process, ProgressCommand, Rights, Session};

/// What a session is doing there. The order is that of recognition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    AutovacuumWraparound,
    Autovacuum,
    Vacuum,
    Analyze,
    IndexBuild,
    Cluster,
    Backup,
    Repack,
    LogicalSync,
    CopyOut,
    IdleInTransaction,
    Application,
}

impl Class {
    pub const ALL: [Class; 12] = [
        Class::AutovacuumWraparound,
        Class::Autovacuum,
        Class::Vacuum,
        Class::Analyze,
        Class::IndexBuild,
        Class::Cluster,
        Class::Backup,
        Class::Repack,
        Class::LogicalSync,
        Class::CopyOut,
        Class::IdleInTransaction,
        Class::Application,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Class::AutovacuumWraparound => "autovacuum_wraparound",
            Class::Autovacuum => "autovacuum",
            Class::Vacuum => "vacuum",
            Class::Analyze => "analyze",
            Class::IndexBuild => "index_build",
            Class::Cluster => "cluster",
            Class::Backup => "backup",
            Class::Repack => "repack",
            Class::LogicalSync => "logical_sync",
            Class::CopyOut => "copy_out",
            Class::IdleInTransaction => "idle_in_transaction",
            Class::Application => "application",
        }
    }

    /// Whether the server itself tells it by something that `pg_stat_activity` hides from strangers.
    /// What an autovacuum worker does is no user's secret.
    pub const fn is_told_by_hidden_facts(self) -> bool {
        matches!(
            self,
            Class::LogicalSync | Class::CopyOut | Class::IdleInTransaction
        )
    }

    pub fn from_name(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|c| c.name() == name)
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A class, and what of it everybody could have told from what `pg_stat_activity` and the progress
/// views show to all roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The truth.
    pub class: Class,
    /// Whether everybody could have told it. Where not, only those who may see the session may be
    /// told.
    pub is_public: bool,
    /// What public facts alone make of it.
    pub to_strangers: Class,
}

impl Judgement {
    /// The class that a policy is held against. Whoever may neither see nor signal the session is
    /// answered by public facts alone: he cannot harm it, and must not learn of it what is hidden
    /// by asking whether a policy would name it.
    pub fn class_for(self, rights: Rights) -> Class {
        if rights.judge || rights.signal {
            self.class
        } else {
            self.to_strangers
        }
    }
}

/// The class of a session, by its structure and by the rules.
pub fn judge(session: &Session, rules: &[MaintenanceRule]) -> Judgement {
    // A worker is known by its lack of a role; what it does there is the server's own business,
    // and no user's secret.
    let is_servers_own = session.process == Process::AutovacuumWorker;
    let mut truth = None;
    for class in Class::ALL {
        let Some(is_public) = recognised(class, session, rules) else {
            continue;
        };
        let (truth, truth_is_public) = *truth.get_or_insert((class, is_public));
        if is_public || is_servers_own {
            return Judgement {
                class: truth,
                is_public: truth_is_public,
                to_strangers: class,
            };
        }
    }
    let (class, is_public) = truth.unwrap_or((Class::Application, session.is_prepared()));
    Judgement {
        class,
        is_public,
        to_strangers: Class::Application,
    }
}

/// Whether it is of that class, and if so whether everybody can know.
fn recognised(class: Class, session: &Session, rules: &[MaintenanceRule]) -> Option<bool> {
    by_structure(class, session).or_else(|| {
        rules
            .iter()
            .filter(|r| r.class == class && r.recognises(session))
            .map(MaintenanceRule::is_by_public_facts)
            .max()
    })
}

/// Whether what the server itself knows makes it that class, and if so whether everybody can know.
fn by_structure(class: Class, session: &Session) -> Option<bool> {
    use ProgressCommand::*;
    let hidden = |holds: bool| holds.then_some(false);
    // The progress views show pid and command to every role.
    let public = |holds: bool| holds.then_some(true);
    match class {
        Class::AutovacuumWraparound => hidden(session.anti_wraparound),
        Class::Autovacuum => hidden(session.process == Process::AutovacuumWorker),
        Class::Vacuum => public(session.progress == Some(Vacuum)),
        Class::Analyze => public(session.progress == Some(Analyze)),
        Class::IndexBuild => public(matches!(session.progress, Some(CreateIndex { .. }))),
        Class::Cluster => public(session.progress == Some(Cluster)),
        Class::Backup | Class::Repack => None,
        // The publisher's side copies out of a walsender, the subscriber's side into a worker.
        Class::LogicalSync => hidden(matches!(
            (session.process, session.progress),
            (Process::WalSender, Some(CopyTo)) | (Process::BackgroundWorker, Some(CopyFrom))
        )),
        // That it is a COPY is public; which way it goes is not.
        Class::CopyOut => hidden(session.progress == Some(CopyTo)),
        Class::IdleInTransaction => hidden(session.is_idle_in_transaction()),
        Class::Application => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, State, fixtures::application};
    use super::*;
    use crate::pattern::Pattern;

    fn rule(class: Class, application_name: &str) -> MaintenanceRule {
        MaintenanceRule {
            class,
            application_name: Some(Pattern::new(application_name)),
            usename: None,
            backend_type: None,
            query: None,
            client_addr: None,
        }
    }

    fn class_of(session: &Session) -> Class {
        judge(
            session,
            &[
                rule(Class::Backup, "pg_dump"),
                rule(Class::Repack, "pg_repack"),
            ],
        )
        .class
    }

    #[test]
    fn an_ordinary_session_is_the_application() {
        assert_eq!(class_of(&application(1)), Class::Application);
    }

    #[test]
    fn a_wraparound_vacuum_is_told_from_other_autovacuums() {
        let mut worker = application(1);
        worker.process = Process::AutovacuumWorker;
        worker.progress = Some(ProgressCommand::Vacuum);
        assert_eq!(class_of(&worker), Class::Autovacuum);
        worker.anti_wraparound = true;
        assert_eq!(class_of(&worker), Class::AutovacuumWraparound);
    }

    #[test]
    fn structure_counts_before_names() {
        let mut session = application(1);
        session.application_name = Some("pg_dump".into());
        session.progress = Some(ProgressCommand::CopyTo);
        assert_eq!(
            class_of(&session),
            Class::Backup,
            "a pg_dump in its COPY is a backup"
        );
        session.progress = Some(ProgressCommand::Vacuum);
        assert_eq!(
            class_of(&session),
            Class::Vacuum,
            "a vacuum under pg_dump's name is a vacuum"
        );
    }

    #[test]
    fn an_idle_pg_dump_is_a_backup_still() {
        let mut session = application(1);
        session.application_name = Some("pg_dump".into());
        session.state = Some(State::IdleInTransaction);
        assert_eq!(class_of(&session), Class::Backup);
    }

    #[test]
    fn each_progress_command_has_its_class() {
        use ProgressCommand::*;
        let expected = [
            (Vacuum, Class::Vacuum),
            (Analyze, Class::Analyze),
            (Cluster, Class::Cluster),
            (CreateIndex { concurrently: true }, Class::IndexBuild),
            (
                CreateIndex {
                    concurrently: false,
                },
                Class::IndexBuild,
            ),
            (CopyTo, Class::CopyOut),
            (CopyFrom, Class::Application),
            (BaseBackup, Class::Application),
        ];
        for (command, class) in expected {
            let mut session = application(1);
            session.progress = Some(command);
            assert_eq!(class_of(&session), class, "{command:?}");
        }
    }

    #[test]
    fn logical_sync_is_seen_on_either_side() {
        let mut publisher = application(1);
        publisher.process = Process::WalSender;
        publisher.progress = Some(ProgressCommand::CopyTo);
        assert_eq!(class_of(&publisher), Class::LogicalSync);
        let mut subscriber = application(2);
        subscriber.process = Process::BackgroundWorker;
        subscriber.progress = Some(ProgressCommand::CopyFrom);
        assert_eq!(class_of(&subscriber), Class::LogicalSync);
    }

    #[test]
    fn all_patterns_of_a_rule_must_match() {
        let mut both = rule(Class::Backup, "nightly");
        both.usename = Some(Pattern::new("backup_*"));
        let mut session = application(1);
        session.application_name = Some("nightly".into());
        assert_eq!(
            judge(&session, std::slice::from_ref(&both)).class,
            Class::Application
        );
        session.usename = Some("backup_eu".into());
        assert_eq!(judge(&session, &[both]).class, Class::Backup);
    }

    #[test]
    fn a_prepared_transaction_is_the_application() {
        let mut prepared = application(1);
        prepared.identity = Identity::Prepared { xid: 7 };
        prepared.application_name = None;
        prepared.state = None;
        assert_eq!(class_of(&prepared), Class::Application);
    }

    #[test]
    fn a_class_told_from_hidden_facts_is_not_public() {
        let mut session = application(1);
        assert!(
            !judge(&session, &[]).is_public,
            "not even that it is nothing special"
        );
        session.state = Some(State::IdleInTransaction);
        assert!(!judge(&session, &[]).is_public);
        session.application_name = Some("pg_dump".into());
        assert!(judge(&session, &[rule(Class::Backup, "pg_dump")]).is_public);
        session.progress = Some(ProgressCommand::Analyze);
        assert!(judge(&session, &[]).is_public);
    }

    #[test]
    fn a_stranger_is_answered_by_public_facts_alone() {
        const STRANGER: Rights = Rights {
            see: false,
            judge: false,
            signal: false,
            own_signal: false,
        };
        const MAY_SIGNAL: Rights = Rights {
            see: false,
            judge: false,
            signal: true,
            own_signal: true,
        };
        let mut session = application(1);
        session.state = Some(State::IdleInTransaction);
        let idle = judge(&session, &[]);
        assert_eq!(idle.class_for(STRANGER), Class::Application);
        assert_eq!(idle.class_for(MAY_SIGNAL), Class::IdleInTransaction);

        let mut by_query = rule(Class::Backup, "web");
        by_query.query = Some(Pattern::new("*"));
        session.progress = Some(ProgressCommand::CopyTo);
        let hidden = judge(&session, std::slice::from_ref(&by_query));
        assert_eq!(hidden.class, Class::Backup);
        assert_eq!(hidden.class_for(STRANGER), Class::Application);
        let named = judge(&session, &[by_query, rule(Class::Backup, "web")]);
        assert_eq!(named.class_for(STRANGER), Class::Backup);
    }

    #[test]
    fn an_autovacuum_worker_is_no_secret() {
        let mut worker = application(1);
        worker.process = Process::AutovacuumWorker;
        worker.progress = Some(ProgressCommand::Vacuum);
        assert_eq!(judge(&worker, &[]).to_strangers, Class::Autovacuum);
        worker.anti_wraparound = true;
        assert_eq!(
            judge(&worker, &[]).to_strangers,
            Class::AutovacuumWraparound
        );
    }
}
