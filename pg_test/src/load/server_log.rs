//! The server log, read for what must not be in it.

use std::collections::BTreeMap;

use super::tally::is_designed;

/// With the SQLSTATE of each line.
pub const PREFIX: &str = "%m [%p] %e %q%a %u@%d ";

/// What is no error of a statement's, and is by design.
const KNOWN: [&str; 9] = [
    // A session that a policy names is terminated; or the server stops.
    "terminating connection due to administrator command",
    "terminating autovacuum process due to administrator command",
    "canceling autovacuum task",
    "connection to client lost",
    // Our own words, as about a signal that came too late.
    "lockguard",
    // A caller ends a transaction that a cancel has ended.
    "there is no transaction in progress",
    "there is already a transaction in progress",
    // The reader of a signal finds nobody any more.
    "PID ",
    "worker took too long to start; canceled",
];

/// Each sort of line that is not by design, and how often it came. `log` is what was written since some moment.
pub fn unexpected(log: &str) -> Vec<String> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for line in log.lines() {
        if let Some(complaint) = complaint(line) {
            *found.entry(complaint).or_default() += 1;
        }
    }
    let found = found.into_iter();
    found
        .map(|(what, count)| format!("{count} times in the log: {what}"))
        .collect()
}

fn complaint(line: &str) -> Option<String> {
    if line.contains("terminated by signal") || line.starts_with("TRAP:") {
        return Some(line.to_owned());
    }
    let (before, message) = line.split_once(":  ")?;
    let severity = before.rsplit(' ').next()?;
    let (_, rest) = before.split_once("] ")?;
    let code = rest.split(' ').next()?;
    let is_known = KNOWN.iter().any(|words| message.starts_with(words));
    let is_well = match severity {
        "PANIC" => false,
        "FATAL" | "WARNING" => is_known,
        "ERROR" => is_known || is_designed(code, message),
        _ => true,
    };
    (!is_well).then(|| format!("{severity} {code} {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "2026-11-23 06:40:32.123 UTC [7]";

    #[test]
    fn a_leak_is_unexpected() {
        let line = format!(
            "{SHOP} 01000 shop postgres@db1 WARNING:  relcache reference leak: relation \"t\" not closed"
        );
        assert_eq!(unexpected(&line).len(), 1);
    }

    #[test]
    fn an_error_is_judged_by_its_sqlstate() {
        let line = |code| format!("{SHOP} {code} migration 3 postgres@db1 ERROR:  no");
        assert_eq!(unexpected(&line("55P03")), [""; 0]);
        assert_eq!(unexpected(&line("XX000")).len(), 1);
    }

    #[test]
    fn a_crash_is_unexpected_and_a_statement_that_tells_of_one_is_not() {
        let crash =
            format!("{SHOP} 00000 LOG:  server process (PID 9) was terminated by signal 11");
        let statement = format!("{SHOP} 55P03 x postgres@db1 STATEMENT:  SELECT 'FATAL:  no'");
        assert_eq!(unexpected(&[crash, statement].join("\n")).len(), 1);
    }
}
