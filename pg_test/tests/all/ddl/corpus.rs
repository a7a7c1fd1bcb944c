//! The corpus: entries of one or several statements, parted by blank lines.
//!
//! `LOCKGUARD_DDL_INSIDE` and `LOCKGUARD_DDL_OUTSIDE` name files of such entries to take instead of the corpus's.

/// Those that run in a transaction block, and are rolled back.
const INSIDE: [(&str, &str); 7] = [
    ("drop", include_str!("corpus/drop.sql")),
    ("alter_table", include_str!("corpus/alter_table.sql")),
    ("alter_other", include_str!("corpus/alter_other.sql")),
    ("create", include_str!("corpus/create.sql")),
    ("maintenance", include_str!("corpus/maintenance.sql")),
    ("dml", include_str!("corpus/dml.sql")),
    ("scripts", include_str!("corpus/scripts.sql")),
];

/// Those that cannot.
const OUTSIDE: [(&str, &str); 1] = [("outside", include_str!("corpus/outside.sql"))];

/// A script of the corpus.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file it stands in.
    pub family: &'static str,
    /// As it stands there.
    pub text: String,
}

/// The entries that run in a transaction block and succeed there.
pub fn inside(major: u32) -> Vec<Entry> {
    match given("LOCKGUARD_DDL_INSIDE") {
        Some(text) => entries(&[("given", &text)], major),
        None => entries(&INSIDE, major),
    }
}

/// The entries that need to be watched from outside.
pub fn outside(major: u32) -> Vec<Entry> {
    match given("LOCKGUARD_DDL_OUTSIDE") {
        Some(text) => entries(&[("given", &text)], major),
        None => entries(&OUTSIDE, major),
    }
}

/// What stands in the file that a variable of the environment names.
pub fn given(variable: &str) -> Option<String> {
    let path = std::env::var_os(variable)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => panic!("{variable}={}: {error}", path.display()),
    }
}

fn entries(files: &[(&'static str, &str)], major: u32) -> Vec<Entry> {
    let wanted = std::env::var("LOCKGUARD_DDL").unwrap_or_default();
    let mut entries = vec![];
    for (family, text) in files {
        for text in text.split("\n\n").map(|text| text.trim_matches('\n')) {
            let fails = text.contains("-- fails") || (text.contains("-- 15 only") && major != 15);
            if !text.is_empty() && !fails && (text.contains(&wanted) || *family == wanted) {
                let text = text.to_owned();
                entries.push(Entry { family, text });
            }
        }
    }
    entries
}

impl Entry {
    /// Its statements: each ends with a line that ends with a semicolon, outside of `$$`.
    pub fn statements(&self) -> Vec<String> {
        let mut statements = vec![];
        let mut statement = String::new();
        let mut quoted = false;
        for line in self.text.lines() {
            statement.push_str(line);
            statement.push('\n');
            quoted ^= line.matches("$$").count() % 2 == 1;
            if !quoted && line.trim_end().ends_with(';') {
                statements.push(std::mem::take(&mut statement));
            }
        }
        if !statement.trim().is_empty() {
            statements.push(statement);
        }
        statements
    }
}

/// Whether a statement's plan decides what it locks beside the relations that it names.
pub fn is_planned(statement: &str) -> bool {
    let text = statement.to_uppercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let first = words.first().copied().unwrap_or_default();
    let makes_rows = [" AS SELECT", " AS WITH", " AS VALUES", " AS TABLE"]
        .iter()
        .any(|query| text.contains(query));
    match first {
        "CREATE" => {
            makes_rows
                && words
                    .iter()
                    .take(5)
                    .any(|word| ["TABLE", "MATERIALIZED"].contains(word))
        }
        "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH" | "VALUES" | "TABLE"
        | "COPY" | "EXPLAIN" | "DECLARE" | "FETCH" | "PREPARE" => true,
        _ => false,
    }
}

/// Whether nobody can see ahead what a statement does.
pub fn is_opaque(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or_default();
    ["DO", "EXECUTE", "CALL"].contains(&first)
}
