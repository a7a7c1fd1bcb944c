//! What the scenarios share: the installation, and a server that most of them can use.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Failed, Trial};
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

    /// Ends the server that scenarios share; what servers still have to complain of.
    pub fn end(&self) -> Vec<String> {
        let ended = self.cluster.get().map_or(Ok(()), Cluster::stop);
        let failure = ended.err().map(|failure| failure.to_string());
        pg_test::complaints().into_iter().chain(failure).collect()
    }

    /// A fresh database with the extension, in the shared server.
    pub fn database(&self) -> Database {
        self.cluster().create_database().unwrap()
    }

    /// A scenario for the runner: the path of its function is its claim, `body` panics when it does not hold. It
    /// fails as well where a server complains meanwhile.
    ///
    /// Called by [`scenarios!`].
    pub fn scenario(self: &Arc<Self>, path: &str, body: fn(&World)) -> Trial {
        let world = Arc::clone(self);
        // "all::" is this program, which says nothing.
        Trial::test(path.trim_start_matches("all::"), move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| body(&world)));
            let complaints = pg_test::complaints();
            if let Err(panic) = outcome {
                complaints.iter().for_each(|found| eprintln!("{found}"));
                resume_unwind(panic);
            }
            match complaints.is_empty() {
                true => Ok(()),
                false => Err(Failed::from(complaints.join("\n"))),
            }
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
