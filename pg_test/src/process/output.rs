//! Running a program to its end with its output in hand.

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Ending, Process};

/// What a program that has ended left behind.
#[derive(Clone, Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub elapsed: Duration,
}

impl Captured {
    /// Itself, when the program ended well.
    ///
    /// # Panics
    /// With everything it wrote, when it did not.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert!(
            self.status.success(),
            "{}\n{}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Runs `command` without input to its end; after a minute it is killed, and that is a failure.
pub fn run(command: Command) -> io::Result<Captured> {
    run_within(command, Duration::from_secs(60))
}

/// Runs `command` without input to its end; after `timeout` it is killed.
///
/// # Errors
/// When it could not be started, or did not end in time.
pub fn run_within(command: Command, timeout: Duration) -> io::Result<Captured> {
    run_to_end(command, Ending::Client, timeout)
}

/// The same for a program that is to be ended in its own way when the run is interrupted.
pub(crate) fn run_to_end(
    mut command: Command,
    ending: Ending,
    timeout: Duration,
) -> io::Result<Captured> {
    let started = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut process = Process::spawn(command, ending)?;
    let stdout = collect(process.take_stdout());
    let stderr = collect(process.take_stderr());
    let ended = process.wait(timeout);
    let elapsed = started.elapsed();
    process.end();
    let (stdout, stderr) = (text(stdout), text(stderr));
    match ended {
        Some(status) => Ok(Captured {
            status,
            stdout,
            stderr,
            elapsed,
        }),
        None => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{name} did not end within {timeout:?}\n{stdout}{stderr}"),
        )),
    }
}

/// Reads `source` to its end on a thread of its own, so that the writer never blocks.
pub(crate) fn collect(source: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            // A broken pipe ends the output like any other end.
            let _ = source.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// The text that [`collect`] gathered.
pub(crate) fn text(collected: JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&collected.join().unwrap_or_default()).into_owned()
}
