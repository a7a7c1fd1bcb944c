//! What the scenarios share: the installation, and a server that most of them can use.

use std::sync::{Arc, OnceLock};

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Failure, Installation, Options, setup};

/// Made once for all scenarios. Nothing in it exists before it is asked for.
#[derive(Default)]
pub struct World {
    // The server is dropped before the installation it runs from.
    cluster: OnceLock<Cluster>,
    installation: OnceLock<Installation>,
}

impl World {
    /// Finds and builds what is needed.
    pub fn set_up(&self) -> Result<(), Failure> {
        let installation = setup::run(Options::default())?;
        self.installation.get_or_init(|| installation);
        Ok(())
    }

    /// The private PostgreSQL with the extension in it.
    pub fn installation(&self) -> &Installation {
        self.installation
            .get()
            .expect("the setup runs before the first scenario")
    }

    /// The server that scenarios share: default settings, no autovacuum.
    pub fn cluster(&self) -> &Cluster {
        self.cluster.get_or_init(|| self.start_cluster(&[]))
    }

    /// A server of one's own, with these settings.
    pub fn start_cluster(&self, settings: &[(&str, &str)]) -> Cluster {
        Cluster::start(self.installation(), settings).unwrap()
    }

    /// A fresh database with the extension, in the shared server.
    pub fn database(&self) -> Database {
        self.cluster().create_database().unwrap()
    }

    /// A scenario for the runner: the path of its function is its claim, `body` panics when it does not hold.
    ///
    /// Called by [`scenarios!`].
    pub fn scenario(self: &Arc<Self>, path: &str, body: fn(&World)) -> Trial {
        let world = Arc::clone(self);
        // "all::" is this program, which says nothing.
        Trial::test(path.trim_start_matches("all::"), move || {
            body(&world);
            Ok(())
        })
    }
}

/// The trials of a module: `scenarios![world; claim, another_claim]`, each the name of a function.
macro_rules! scenarios {
    ($world:expr; $($body:ident),* $(,)?) => {
        vec![$($world.scenario(concat!(module_path!(), "::", stringify!($body)), $body)),*]
    };
}
pub(crate) use scenarios;
