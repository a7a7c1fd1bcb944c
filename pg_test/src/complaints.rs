//! What servers complain of in their logs: failed assertions, and what valgrind finds.
//!
//! Every server is looked after from its start; what has been told once is not told again. A scenario during which
//! a server complained fails, whatever else it saw.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How a log begins that valgrind writes of one process.
pub(crate) const MEMCHECK_LOG: &str = "memcheck-";

/// What valgrind puts around each error.
pub(crate) const MARKERS: (&str, &str) = ("MEMORY-ERROR-BEGIN", "MEMORY-ERROR-END");

/// The server prints it before it ends itself (`ExceptionalCondition` in `assert.c`).
const TRAP: &str = "TRAP: ";

/// How far each log has been read, by the folder of its server.
static READ: Mutex<Option<HashMap<PathBuf, HashMap<PathBuf, usize>>>> = Mutex::new(None);

/// Has the logs in that folder looked at from now on.
pub(crate) fn watch(folder: &Path) {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let folders = read.get_or_insert_default();
    folders.entry(folder.to_path_buf()).or_default();
}

/// What all servers have complained of since this was asked last.
pub fn complaints() -> Vec<String> {
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = vec![];
    for (folder, logs) in read.get_or_insert_default() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            let length = entry.metadata().map_or(0, |data| data.len());
            let from = logs.entry(path.clone()).or_default();
            if !is_log || usize::try_from(length).is_ok_and(|length| length <= *from) {
                continue;
            }
            let text = fs::read(&path).unwrap_or_default();
            let new = String::from_utf8_lossy(text.get(*from..).unwrap_or_default()).into_owned();
            let (found, until) = match name.to_string_lossy().starts_with(MEMCHECK_LOG) {
                true => errors(&new),
                false => traps(&new),
            };
            // A byte that is no UTF-8 makes the text longer: then it is read on from its end.
            *from = (*from + until).min(text.len());
            all.extend(
                found
                    .into_iter()
                    .map(|found| format!("{}: {found}", path.display())),
            );
        }
    }
    all
}

/// The lines of failed assertions, and how much of the text needs no second look.
fn traps(text: &str) -> (Vec<String>, usize) {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let lines = text[..whole].lines();
    let found = lines
        .filter(|line| line.starts_with(TRAP))
        .map(str::to_owned);
    (found.collect(), whole)
}

/// What is between markers, and how much of the text needs no second look.
fn errors(text: &str) -> (Vec<String>, usize) {
    let (begin, end) = MARKERS;
    let (mut found, mut until) = (vec![], 0);
    while let Some(start) = text[until..].find(begin) {
        let start = until + start;
        let Some(length) = text[start..].find(end) else {
            return (found, start);
        };
        found.push(text[start..start + length].to_owned());
        until = start + length + end.len();
    }
    (
        found,
        text.rfind('\n').map_or(until, |end| until.max(end + 1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_assertion_is_told_once_its_line_is_whole() {
        let text = "LOG:  TRAP: no\nTRAP: FailedAssertion(\"a\", File: \"b.c\")\nTRAP: fai";
        let (found, until) = traps(text);
        assert_eq!(found, ["TRAP: FailedAssertion(\"a\", File: \"b.c\")"]);
        assert_eq!(&text[until..], "TRAP: fai");
    }

    #[test]
    fn an_error_of_valgrind_is_told_once_it_is_whole() {
        let (begin, end) = MARKERS;
        let text = format!("==1== x\n{begin}\nInvalid read\n{end}\n==1== y\n{begin}\nInv");
        let (found, until) = errors(&text);
        assert_eq!(found, [format!("{begin}\nInvalid read\n")]);
        assert_eq!(text[until..], format!("{begin}\nInv"));
        assert_eq!(errors("==1== nothing\n"), (vec![], 14));
    }
}
