//! Fuzzing: what `locks_of` does with statements that nobody meant.
//!
//! `LOCKGUARD_DDL_FUZZ` sets how many, `LOCKGUARD_SEED` repeats a run.

use fastrand::Rng;
use pg_test::{Database, SessionOptions};

use super::corpus;
use super::setting;

const STATEMENTS: usize = 100_000;
/// How many go to the server at a time.
const BATCH: usize = 100;

/// Asks about each in turn, and returns those that gave an internal error, and one row if a lock was left.
const ASK: &str = "
    CREATE FUNCTION pg_temp.ask(statements text[]) RETURNS TABLE (statement text, complaint text) LANGUAGE plpgsql AS $ask$
    DECLARE told bigint;
    BEGIN
        FOREACH statement IN ARRAY statements LOOP
            BEGIN
                SELECT count(*) INTO told FROM lockguard.locks_of(statement);
            EXCEPTION WHEN OTHERS THEN
                IF SQLSTATE LIKE 'XX%' THEN
                    complaint := format('%s %s', SQLSTATE, SQLERRM);
                    RETURN NEXT;
                END IF;
            END;
            SELECT string_agg(format('%s on %s', mode, relation::regclass), ', ') INTO complaint FROM pg_locks
                WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation >= 16384;
            IF complaint IS NOT NULL THEN
                RETURN NEXT;
                RETURN;
            END IF;
        END LOOP;
    END $ask$";

const WORDS: &[&str] = &[
    "TABLE",
    "DROP",
    "ALTER",
    "CREATE",
    "CASCADE",
    "ONLY",
    "IF EXISTS",
    "CONCURRENTLY",
    "SELECT",
    "FROM",
    "PARTITION OF",
    "REFERENCES",
    "ATTACH PARTITION",
    "NULL",
    "DEFAULT",
    "*",
    ",",
    "(",
    ")",
    ";",
    "::regclass",
    "pg_class",
    "pg_catalog.",
    "customers",
    "orders",
    "\"Odd Table\"",
    "FOR VALUES IN",
    "AS",
    "ON",
    "USING",
    "INDEX",
    "VIEW",
    "-1",
    "99999999999999999999",
    "1e400",
    "''",
    "'",
    "\"",
    "$$",
    "$1",
    "--",
    "/*",
    "*/",
    "E'\\x'",
    "U&'\\0041'",
    "BEGIN",
    "COMMIT",
    "WITH RECURSIVE",
    "ALL IN TABLESPACE",
    "OWNED BY",
    "SET",
    "INHERITS",
    "LIKE",
    "\u{e9}",
    "\u{1F980}",
    "\t",
    "\r",
    "\\",
    "lockguard.policies",
    "pg_toast.pg_toast_1255",
    "information_schema.tables",
];

/// Puts mutated statements of the corpus to `locks_of`.
///
/// # Panics
/// When one gives an internal error, leaves a lock, hangs, or takes the server down.
pub fn fuzz(database: &Database, major: u32) {
    let seed = setting("LOCKGUARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    let wanted = setting("LOCKGUARD_DDL_FUZZ").map_or(STATEMENTS, |count| count as usize);
    println!("\n  {wanted} statements, LOCKGUARD_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let corpus: Vec<String> = corpus::inside(major)
        .into_iter()
        .chain(corpus::outside(major))
        .map(|entry| entry.text)
        .collect();
    let options = SessionOptions::named("fuzz")
        .set("client_min_messages", "error")
        .set("statement_timeout", "20s");
    let session = database.connect(options).unwrap();
    session.run(ASK);
    let since = database.ask("SELECT pg_postmaster_start_time()");
    let mut asked = 0;
    while asked < wanted {
        let statements: Vec<String> = (0..BATCH).map(|_| mutated(&corpus, &mut rng)).collect();
        let list: Vec<String> = statements.iter().map(|one| literal(one)).collect();
        let question = format!(
            "SELECT * FROM pg_temp.ask(ARRAY[{}]::text[])",
            list.join(",")
        );
        let complaints = match session.try_run(&question) {
            Ok(complaints) => complaints,
            Err(error) => panic!("LOCKGUARD_SEED={seed}, after {asked}: {error}\n{question}"),
        };
        assert!(
            complaints.is_empty(),
            "LOCKGUARD_SEED={seed}, after {asked}: {complaints:#?}"
        );
        asked += BATCH;
    }
    let now = database.ask("SELECT pg_postmaster_start_time()");
    assert_eq!(since.value(), now.value(), "the server was restarted");
}

/// A statement of the corpus after one to five changes.
fn mutated(corpus: &[String], rng: &mut Rng) -> String {
    let mut text = any(corpus, rng).clone();
    for _ in 0..rng.usize(1..=5) {
        text = change(&text, corpus, rng);
    }
    // A text cannot have it at all.
    text.replace('\0', "")
}

fn change(text: &str, corpus: &[String], rng: &mut Rng) -> String {
    let mut tokens = tokens(text);
    let at = rng.usize(0..=tokens.len().saturating_sub(1));
    let other = rng.usize(0..=tokens.len().saturating_sub(1));
    match rng.u8(0..12) {
        0 => {
            return text
                .chars()
                .take(rng.usize(0..=text.chars().count()))
                .collect();
        }
        1 => {
            return text
                .chars()
                .skip(rng.usize(0..=text.chars().count()))
                .collect();
        }
        2 if !tokens.is_empty() => tokens.swap(at, other),
        3 if !tokens.is_empty() => tokens.insert(at, tokens[other].clone()),
        4 if !tokens.is_empty() => drop(tokens.remove(at)),
        5 => tokens.insert(at, format!(" {} ", WORDS[rng.usize(..WORDS.len())])),
        6 if !tokens.is_empty() => tokens[at] = WORDS[rng.usize(..WORDS.len())].to_owned(),
        7 if !tokens.is_empty() => {
            let donor = self::tokens(any(corpus, rng));
            tokens[at] = donor[rng.usize(..donor.len())].clone();
        }
        8 => return format!("{text} {}", any(corpus, rng)),
        9 => tokens.insert(at, rng.char(..).to_string()),
        10 if !tokens.is_empty() => {
            let nesting = rng.usize(1..200);
            tokens[at] = format!(
                "{}{}{}",
                "(".repeat(nesting),
                tokens[at],
                ")".repeat(nesting)
            );
        }
        _ => return text.to_uppercase(),
    }
    tokens.concat()
}

/// Words, and whatever stands between them, a character each.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = vec![];
    let mut in_word = false;
    for c in text.chars() {
        let is_word = c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if in_word && is_word => last.push(c),
            _ => tokens.push(c.to_string()),
        }
        in_word = is_word;
    }
    tokens
}

fn any<'a>(corpus: &'a [String], rng: &mut Rng) -> &'a String {
    &corpus[rng.usize(..corpus.len())]
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
