//! A program whose output is read slowly or not at all: the backup over a bad line.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

use crate::failure::{During, Failure};
use crate::process::{Ending, Process, collect, text};
use crate::wait::becomes_true;

/// How often a slow reader takes its share.
const TICK: Duration = Duration::from_millis(20);

/// The least that the kernel allows: the less lies in the pipe, the sooner the writer is held up.
const PIPE_BYTES: i32 = 4096;

/// A running program whose standard output is read at a set rate. Dropping it ends the program.
pub struct SlowReader {
    process: Process,
    pace: Arc<Pace>,
    reader: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

#[derive(Default)]
struct Pace {
    bytes_per_second: AtomicU64,
    read: AtomicU64,
    stop: AtomicBool,
}

impl SlowReader {
    /// Starts `command` and reads its standard output at `bytes_per_second`; at 0 nothing is read, and the
    /// program stalls once the pipe is full.
    pub fn spawn(mut command: Command, bytes_per_second: u64) -> Result<Self, Failure> {
        let name = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process =
            Process::spawn(command, Ending::Client).during(format!("start {name}"))?;
        let pace = Arc::new(Pace {
            bytes_per_second: bytes_per_second.into(),
            ..Pace::default()
        });
        let reader = process.take_stdout().map(|stdout| {
            let pace = Arc::clone(&pace);
            std::thread::spawn(move || pace.read_slowly(stdout))
        });
        let stderr = Some(collect(process.take_stderr()));
        Ok(Self {
            process,
            pace,
            reader,
            stderr,
        })
    }

    /// Reads at another rate from now on.
    pub fn set_rate(&self, bytes_per_second: u64) {
        self.pace
            .bytes_per_second
            .store(bytes_per_second, Ordering::Relaxed);
    }

    /// How much has been read.
    pub fn bytes_read(&self) -> u64 {
        self.pace.read.load(Ordering::Relaxed)
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.process.try_wait()
    }

    /// Its exit status, if it ends within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        self.process.wait(timeout)
    }

    /// Ends the program, and returns what it wrote to standard error.
    pub fn finish(mut self) -> String {
        self.process.end();
        self.stderr.take().map(text).unwrap_or_default()
    }
}

impl Drop for SlowReader {
    fn drop(&mut self) {
        self.pace.stop.store(true, Ordering::Relaxed);
        self.process.end();
        if let Some(reader) = self.reader.take() {
            becomes_true(Duration::from_secs(1), || reader.is_finished());
        }
    }
}

impl Pace {
    fn read_slowly(&self, mut stdout: ChildStdout) {
        // A kernel that refuses leaves the usual 64 kB, which only delays the stall.
        let _ = fcntl(stdout.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        let mut buffer = vec![0; 1 << 16];
        let mut owed = 0.0;
        let mut last = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            let rate = self.bytes_per_second.load(Ordering::Relaxed);
            owed += rate as f64 * last.elapsed().as_secs_f64();
            last = Instant::now();
            while owed >= 1.0 {
                let share = (owed as usize).min(buffer.len());
                match stdout.read(&mut buffer[..share]) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        owed -= count as f64;
                        self.read.fetch_add(count as u64, Ordering::Relaxed);
                    }
                }
            }
            // A program that writes little must not save up for a burst.
            owed = owed.min(rate as f64 * TICK.as_secs_f64() * 2.0 + 1.0);
        }
    }
}
