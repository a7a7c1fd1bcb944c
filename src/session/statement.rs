//! Whether the locks that a statement takes go with what it reports of its progress, told from its
//! text: the server does not say what follows a report.
//!
//! Where the text leaves a doubt, they are said to stay: it is better to promise nothing.

use super::ProgressCommand;

/// How far a report reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The statement is done with the relation soon after the report's end.
    Whole,
    /// The statement does several relations one after the other: this one is free when its report ends,
    /// but the time since the statement's start says nothing of its pace.
    Turn,
    /// More follows, under the same locks.
    Part,
}

/// How far a report of that command reaches in a statement with that text, which is the session's
/// only one.
pub fn reach(query: &str, command: ProgressCommand) -> Reach {
    let query = query.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let mut rest = without_leading_comments(query);
    // Comments further on could hide a comma or show one.
    if query.contains(';') || rest.contains("--") || rest.contains("/*") {
        return Reach::Part;
    }
    let first = word(&mut rest);
    let one_by_one = |rest: &str| match names_one(rest) {
        true => Reach::Whole,
        false => Reach::Turn,
    };
    use ProgressCommand::*;
    match (command, first.as_str()) {
        (Vacuum, "VACUUM")
        | (Analyze, "VACUUM" | "ANALYZE" | "ANALYSE")
        | (Cluster, "VACUUM" | "CLUSTER") => one_by_one(without_options(rest)),
        (CreateIndex { .. }, "CREATE") => match word(&mut rest).as_str() {
            "INDEX" => Reach::Whole,
            "UNIQUE" if word(&mut rest) == "INDEX" => Reach::Whole,
            // CREATE EXTENSION or SCHEMA may do anything.
            _ => Reach::Part,
        },
        (CreateIndex { .. }, "REINDEX") => {
            rest = without_options(rest);
            // Those of a whole table are reported one after the other, and its lock stays.
            match word(&mut rest).as_str() {
                "INDEX" => Reach::Whole,
                _ => Reach::Part,
            }
        }
        // Of several subcommands others may follow.
        (CreateIndex { .. }, "ALTER") => match word(&mut rest) == "TABLE" && names_one(rest) {
            true => Reach::Whole,
            false => Reach::Part,
        },
        (CopyFrom | CopyTo, "COPY") => Reach::Whole,
        _ => Reach::Part,
    }
}

fn without_leading_comments(mut query: &str) -> &str {
    loop {
        query = query.trim_start();
        query = match query.as_bytes() {
            [b'-', b'-', ..] => query.split_once('\n').map_or("", |(_, rest)| rest),
            [b'/', b'*', ..] => after_block_comment(query),
            _ => return query,
        };
    }
}

/// What follows a comment, in which there may be others.
fn after_block_comment(query: &str) -> &str {
    let mut depth = 0;
    let mut at = 0;
    while let Some(pair) = query.as_bytes().get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return &query[at..];
        }
    }
    ""
}

/// Takes the next word, in capitals; empty if what comes next is none.
fn word(rest: &mut &str) -> String {
    let start = rest.trim_start();
    let end = start
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(start.len());
    *rest = &start[end..];
    start[..end].to_ascii_uppercase()
}

/// What follows the options of VACUUM and the like, in parentheses or as words.
fn without_options(rest: &str) -> &str {
    let mut rest = rest.trim_start();
    if rest.starts_with('(') {
        rest = rest.split_once(')').map_or("", |(_, rest)| rest);
    }
    loop {
        let mut after = rest;
        match word(&mut after).as_str() {
            // All are reserved, so that no table has such a name without quotes.
            "FULL" | "FREEZE" | "VERBOSE" | "ANALYZE" | "ANALYSE" if is_at_a_word_s_end(after) => {
                rest = after;
            }
            _ => return rest,
        }
    }
}

fn is_at_a_word_s_end(rest: &str) -> bool {
    !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '.')
}

/// Whether this names something, and is no list.
fn names_one(rest: &str) -> bool {
    let mut depth = 0;
    let mut quote = None;
    for c in rest.chars() {
        match (quote, c) {
            (Some(open), _) => quote = (c != open).then_some(open),
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ',') if depth == 0 => return false,
            _ => {}
        }
    }
    !rest.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: ProgressCommand = ProgressCommand::CreateIndex {
        concurrently: false,
    };

    #[track_caller]
    fn all(reach_expected: Reach, command: ProgressCommand, queries: &[&str]) {
        for query in queries {
            assert_eq!(reach(query, command), reach_expected, "{query}");
        }
    }

    #[test]
    fn a_command_of_its_own_is_reported_whole() {
        use ProgressCommand::*;
        all(
            Reach::Whole,
            Vacuum,
            &[
                "VACUUM t",
                "  vacuum (VERBOSE, PARALLEL 2) s.\"T, u\" ;\n",
                "VACUUM FREEZE VERBOSE t",
                "-- nightly\n/* a /* nested */ one */ VACUUM t;",
                "VACUUM t (a, b)",
                "VACUUM fullness",
            ],
        );
        all(
            Reach::Whole,
            Analyze,
            &["ANALYZE t", "analyse VERBOSE t", "VACUUM ANALYZE t"],
        );
        all(
            Reach::Whole,
            Cluster,
            &["CLUSTER t USING i", "VACUUM FULL t", "VACUUM (FULL) t"],
        );
        all(
            Reach::Whole,
            INDEX,
            &[
                "CREATE INDEX ON t (a, b)",
                "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
                "REINDEX INDEX i",
                "REINDEX (VERBOSE, CONCURRENTLY) INDEX i",
                "ALTER TABLE t ADD PRIMARY KEY (a, b)",
            ],
        );
        all(Reach::Whole, CopyTo, &["COPY t (a, b) TO STDOUT"]);
        all(Reach::Whole, CopyFrom, &["copy t from '/tmp/a'"]);
    }

    #[test]
    fn of_several_relations_one_is_reported_at_a_time() {
        use ProgressCommand::*;
        all(
            Reach::Turn,
            Vacuum,
            &[
                "VACUUM",
                "VACUUM (VERBOSE)",
                "VACUUM a, b",
                "VACUUM VERBOSE;",
                "VACUUM a(x), b",
            ],
        );
        all(Reach::Turn, Analyze, &["ANALYZE", "VACUUM ANALYZE"]);
        all(Reach::Turn, Cluster, &["CLUSTER", "CLUSTER VERBOSE"]);
    }

    #[test]
    fn more_may_follow_another_statement_s_report() {
        use ProgressCommand::*;
        all(
            Reach::Part,
            INDEX,
            &[
                "DO $$ BEGIN CREATE INDEX ON t (a) END $$",
                "SELECT build()",
                "REINDEX TABLE t",
                "REINDEX (VERBOSE) SCHEMA s",
                "REINDEX DATABASE d",
                "ALTER TABLE t ADD PRIMARY KEY (a), ADD UNIQUE (b)",
                "ALTER INDEX i ATTACH PARTITION j",
                "CREATE EXTENSION e",
                "CREATE UNIQUE",
                "",
            ],
        );
        all(
            Reach::Part,
            Analyze,
            &[
                "ANALYZE t; SELECT 1",
                "ANALYZE t;; SELECT 1;",
                "BEGIN; ANALYZE t",
                "ANALYZE /* ' */ a, b",
                "/* unfinished",
                "-- unfinished",
                "EXPLAIN ANALYZE SELECT 1",
            ],
        );
        all(Reach::Part, Vacuum, &["ANALYZE t"]);
        all(Reach::Part, CopyTo, &["DO 'COPY'", "SELECT 1"]);
        all(Reach::Part, BaseBackup, &["BASE_BACKUP"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(query in "(VACUUM|ANALYZE|ALTER TABLE|COPY|/[*]|--)?[ -~é→]{0,40}") {
            for command in [ProgressCommand::Vacuum, ProgressCommand::Analyze, INDEX, ProgressCommand::CopyTo] {
                reach(&query, command);
            }
        }
    }
}
