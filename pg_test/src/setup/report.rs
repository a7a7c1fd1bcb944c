//! What the person at the terminal is told: announcements always, timings when asked.

use std::io::IsTerminal;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};

use crate::failure::{During, Failure};
use crate::process::{Ending, Process};
use crate::workspace;

const ANNOUNCE: Style = AnsiColor::Cyan.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// After this long a step that shows nothing says that it is still at it.
const STILL_THERE: Duration = Duration::from_secs(30);

/// Speaks to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    verbose: bool,
}

impl Report {
    /// A report that gives the time of each step if `verbose`.
    pub fn new(verbose: bool) -> Self {
        Self { verbose }
    }

    /// Runs one step of the setup.
    pub fn step<T>(
        &self,
        name: &str,
        body: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let outcome = body();
        self.took(name, started.elapsed());
        outcome
    }

    /// Says how long something took, if verbose.
    pub fn took(&self, name: &str, elapsed: Duration) {
        if self.verbose {
            anstream::eprintln!("{FAINT}{:>8.2} s  {name}{FAINT:#}", elapsed.as_secs_f64());
        }
    }
}

/// Says what is about to be done, and why.
pub(super) fn announce(message: &str) {
    anstream::eprintln!("{ANNOUNCE}setup:{ANNOUNCE:#} {message}");
}

/// What of a tool's output the person sees while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// Everything.
    Everything,
    /// On a terminal its standard error, where cargo draws its progress; otherwise nothing.
    Progress,
    /// Nothing, but that it is still at it.
    Nothing,
}

/// Runs a tool to its end. What is not shown goes to a log that is printed if the tool fails.
///
/// `what` completes "could not …", and "still busy: …" when it takes long in silence.
pub(super) fn run_tool(
    mut command: Command,
    ending: Ending,
    show: Show,
    what: &str,
) -> Result<(), Failure> {
    let log_path = workspace::scratch()?.join(format!(
        "{}.log",
        what.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    ));
    let log = std::fs::File::create(&log_path).during(format!("write {}", log_path.display()))?;
    let log_again = log
        .try_clone()
        .during(format!("write {}", log_path.display()))?;
    let on_terminal = std::io::stderr().is_terminal();
    command.stdin(Stdio::null());
    match show {
        // Standard output is for results; what tools say goes to standard error like our own words.
        Show::Everything => command.stdout(std::io::stderr()).stderr(Stdio::inherit()),
        Show::Progress if on_terminal => command.stdout(log).stderr(Stdio::inherit()),
        Show::Progress | Show::Nothing => command.stdout(log).stderr(log_again),
    };
    let silent = show == Show::Nothing || (show == Show::Progress && !on_terminal);
    let mut process = Process::spawn(command, ending).during(what)?;
    let started = Instant::now();
    let status = loop {
        match process.wait(STILL_THERE) {
            Some(status) => break status,
            None if silent => announce(&format!(
                "still busy after {} s: {what}",
                started.elapsed().as_secs()
            )),
            None => {}
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = std::fs::read_to_string(&log_path).unwrap_or_default();
    Err(Failure::new(format!("{said}could not {what}: {status}")))
}
