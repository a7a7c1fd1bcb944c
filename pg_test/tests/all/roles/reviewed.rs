//! That `pg_test/SECURITY.md` is true: it names every object there is, with the grants that the catalogs
//! have and with scenarios that exist; and that no query of the extension's goes by the search path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libtest_mimic::Trial;

use super::Stage;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        every_object_of_the_extension_is_reviewed,
        the_grants_are_as_reviewed,
        the_named_tests_exist,
        every_place_that_raises_rights_is_reviewed,
        no_query_of_ours_calls_anything_unqualified,
        each_role_may_what_the_review_says,
    ]
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn review() -> String {
    std::fs::read_to_string(repository().join("pg_test/SECURITY.md")).unwrap()
}

/// The cells of each row of the table, without the backquotes around what is code as a whole.
fn rows() -> Vec<Vec<String>> {
    let text = review();
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(2);
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// What the first column calls an object, and its grants.
pub fn reviewed() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for row in rows() {
        assert_eq!(row.len(), 6, "six columns: {row:?}");
        let known = found.insert(row[0].replace('`', ""), row[1].clone());
        assert!(known.is_none(), "twice: {}", row[0]);
    }
    found
}

/// The members of the extension and its settings, each with what it grants to whom beside its owner. What
/// is no object of a catalog, the channel and the worker, is found in the source.
pub fn existing(stage: &Stage) -> BTreeMap<String, String> {
    let rows = stage.admin.run(
        "WITH member AS ( \
             SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS name, \
                    coalesce(p.proowner, c.relowner, n.nspowner) AS owner, \
                    CASE WHEN p.oid IS NOT NULL THEN coalesce(p.proacl, acldefault('f', p.proowner)) \
                         WHEN c.relkind = 'S' THEN coalesce(c.relacl, acldefault('s', c.relowner)) \
                         WHEN c.oid IS NOT NULL THEN coalesce(c.relacl, acldefault('r', c.relowner)) \
                         WHEN n.oid IS NOT NULL THEN coalesce(n.nspacl, acldefault('n', n.nspowner)) END AS acl \
             FROM pg_depend d \
             LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid \
             LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid \
             LEFT JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid \
             WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass \
               AND d.classid <> 'pg_type'::regclass \
               AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'lockguard')) \
         SELECT m.name, coalesce((SELECT string_agg(a.who || ': ' || a.what, '; ' ORDER BY a.who) FROM ( \
             SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS who, \
                    string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS what \
             FROM aclexplode(m.acl) a WHERE a.grantee <> m.owner GROUP BY a.grantee) a), 'nobody') AS grants \
         FROM member m \
         UNION ALL \
         SELECT DISTINCT 'row types in lockguard', (SELECT coalesce(string_agg( \
             CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || ': ' || a.privilege_type, '; '), 'nobody') \
             FROM aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a WHERE a.grantee <> t.typowner) \
         FROM pg_type t WHERE t.typnamespace = 'lockguard'::regnamespace \
         UNION ALL \
         SELECT 'setting ' || s.name, CASE s.context WHEN 'user' THEN 'PUBLIC: SET' ELSE s.context END \
         FROM pg_settings s WHERE s.name LIKE 'lockguard.%'",
    );
    let mut found: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (row.text("name").to_owned(), row.text("grants").to_owned()))
        .collect();
    for (file, text) in sources() {
        for (before, kind, grants) in [
            ("pg_notify('", "channel", "PUBLIC: LISTEN, NOTIFY"),
            ("const WORKER: &CStr = c\"", "background worker", "nobody"),
            (
                "const SHARED_MEMORY: &CStr = c\"",
                "shared memory",
                "nobody",
            ),
        ] {
            for (at, _) in text.match_indices(before) {
                let rest = &text[at + before.len()..];
                let name = rest.split(['\'', '"']).next().unwrap();
                assert!(!name.is_empty(), "{}", file.display());
                found.insert(format!("{kind} {name}"), grants.into());
            }
        }
    }
    found
}

/// What the script that creates the extension checks at its end, object by object.
pub fn granted_by_script() -> BTreeMap<String, String> {
    let script = std::fs::read_to_string(repository().join("sql/grants.sql")).unwrap();
    let (_, list) = script
        .split_once("reviewed (object, granted) AS (VALUES")
        .unwrap();
    let (list, _) = list.split_once("existing (").unwrap();
    let words: Vec<&str> = list.split('\'').skip(1).step_by(2).collect();
    let pairs = words.chunks_exact(2);
    assert!(pairs.remainder().is_empty(), "{words:?}");
    pairs
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
        .collect()
}

fn every_object_of_the_extension_is_reviewed(world: &World) {
    let stage = Stage::new(world.database());
    // The setting is known once the library is loaded.
    stage.admin.run("SELECT lockguard.locks_of('')");
    let (there, told) = (existing(&stage), reviewed());
    let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<BTreeSet<_>>();
    let missing: Vec<_> = names(&there).difference(&names(&told)).cloned().collect();
    let stale: Vec<_> = names(&told).difference(&names(&there)).cloned().collect();
    assert!(missing.is_empty(), "not in SECURITY.md: {missing:#?}");
    assert!(stale.is_empty(), "no longer there: {stale:#?}");
    assert!(there.len() >= 20, "{there:#?}");
}

fn the_grants_are_as_reviewed(world: &World) {
    let stage = Stage::new(world.database());
    stage.admin.run("SELECT lockguard.locks_of('')");
    let told = reviewed();
    for (name, grants) in existing(&stage) {
        assert_eq!(told.get(&name), Some(&grants), "{name}");
    }
    // None runs with its owner's rights, nor under settings of its own, and none counts as leakproof.
    let odd = stage.admin.run(
        "SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'lockguard'::regnamespace \
         AND (p.prosecdef OR p.proconfig IS NOT NULL OR p.proleakproof OR p.proparallel <> 'u')",
    );
    assert!(odd.is_empty(), "{odd:?}");
    let columns = stage.admin.run(
        "SELECT a.attrelid::regclass, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
         WHERE c.relnamespace = 'lockguard'::regnamespace AND a.attacl IS NOT NULL",
    );
    assert!(columns.is_empty(), "grants on columns: {columns:?}");
    let leaky = stage.admin.run(
        "SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'lockguard'::regnamespace AND c.relkind = 'v' \
         AND NOT coalesce(c.reloptions @> '{security_barrier=true}' OR c.reloptions @> '{security_barrier}', false)",
    );
    assert!(leaky.is_empty(), "no barrier: {leaky:?}");
}

/// The words in backquotes of the last column that are paths of scenarios.
fn named_tests() -> Vec<String> {
    let mut found: Vec<String> = vec![];
    for row in rows() {
        let before = found.len();
        let words = row[5].split('`').skip(1).step_by(2);
        found.extend(words.map(str::to_owned));
        assert!(found.len() > before, "no test of {}", row[0]);
    }
    // And those of the text around the table.
    let text = review();
    let around = text.lines().filter(|line| !line.starts_with('|'));
    for line in around {
        let words = line.split('`').skip(1).step_by(2);
        found.extend(words.filter(|w| is_path(w)).map(str::to_owned));
    }
    found
}

fn is_path(word: &str) -> bool {
    word.matches("::").count() == 2
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
}

fn the_named_tests_exist(_: &World) {
    // This program tells its own tests; nothing is set up for that.
    let listed = Command::new(std::env::current_exe().unwrap())
        .arg("--list")
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let trials: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .collect();
    assert!(trials.contains("roles::reviewed::the_named_tests_exist"));
    let named = named_tests();
    let unknown: Vec<_> = named
        .iter()
        .filter(|n| !trials.contains(n.as_str()))
        .collect();
    assert!(unknown.is_empty(), "no such scenarios: {unknown:#?}");
    assert!(named.len() >= 40, "{}", named.len());
}

/// All source files of the extension.
fn sources() -> Vec<(PathBuf, String)> {
    fn add(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = vec![];
    add(&repository().join("src"), &mut found);
    found
}

/// The files under `src` that have one of the words in their code.
fn files_with(words: &[&str]) -> BTreeSet<String> {
    let root = repository().join("src");
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    sources()
        .into_iter()
        .filter(|(_, text)| {
            let mut code = text.lines().filter(is_code);
            code.any(|line| words.iter().any(|word| line.contains(word)))
        })
        .map(|(path, _)| format!("src/{}", path.strip_prefix(&root).unwrap().display()))
        .collect()
}

fn every_place_that_raises_rights_is_reviewed(_: &World) {
    let places = files_with(&[
        "as_owner_of(",
        "SetUserIdAndSecContext(",
        "with_lender(",
        "BackgroundWorkerInitializeConnection",
    ]);
    let text = review();
    let (_, part) = text
        .split_once("## Where rights are raised")
        .expect("the part of that heading");
    let (part, _) = part.split_once("\n## ").expect("another part after it");
    let named: BTreeSet<String> = part
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("src/") && word.ends_with(".rs"))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = places.difference(&named).collect();
    assert!(missing.is_empty(), "not told of: {missing:?}");
    for file in named {
        assert!(
            repository().join(&file).exists(),
            "{file} is no longer there"
        );
    }
}

/// The string literals of a Rust source, with their line ends as Rust has them. Raw strings are left out.
fn literals(source: &str) -> Vec<String> {
    let mut found = vec![];
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => {
                for c in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            // A character such as '"' or '\''; a lifetime has no closing one.
            '\'' => {
                let mut ahead = chars.clone();
                let first = ahead.next();
                if first == Some('\\') {
                    ahead.next();
                }
                if ahead.next() == Some('\'') {
                    chars = ahead;
                }
            }
            '"' => {
                let mut text = String::new();
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => match chars.next() {
                            Some('\n') => {
                                while chars.peek().is_some_and(|c| c.is_whitespace()) {
                                    chars.next();
                                }
                            }
                            Some('n') => text.push('\n'),
                            Some(other) => text.push(other),
                            None => break,
                        },
                        c => text.push(c),
                    }
                }
                found.push(text);
            }
            _ => (),
        }
    }
    found
}

/// Whether that is a query, as opposed to words for a person.
fn is_query(literal: &str) -> bool {
    let first = literal.split_whitespace().next().unwrap_or_default();
    [
        "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "LOCK", "SET", "COPY", "MERGE",
    ]
    .contains(&first)
}

/// The words that may stand before a bracket and are no functions.
const NO_FUNCTIONS: [&str; 7] = [
    "ARRAY", "VALUES", "EXISTS", "CONFLICT", "OPERATOR", "IN", "COALESCE",
];

/// What in a query would be looked up by the search path. It knows no SQL, only the look of it: an
/// operator outside `OPERATOR(pg_catalog.…)`, a cast to a type, a name before a bracket, and a name after
/// FROM, JOIN, INTO or UPDATE that are not qualified. It does not see which function or operator a
/// qualified name is resolved to (argument types decide that among those of `pg_catalog`, where no
/// user makes any), what `ON CONFLICT`, `IN`, `DISTINCT` and `ORDER BY` use (default operator classes,
/// not names), nor queries that are put together at run time.
fn faults(query: &str) -> Vec<String> {
    let mut faults = vec![];
    // Without what is between quotes.
    let bare: String = query.split('\'').step_by(2).collect::<Vec<_>>().join("''");
    let mut text = bare.clone();
    while let Some(at) = text.find("OPERATOR(pg_catalog.") {
        let end = at + text[at..].find(')').expect("a closing bracket");
        text.replace_range(at..=end, " ");
    }
    for (at, _) in text.match_indices("::") {
        if !text[at + 2..].starts_with("pg_catalog.") {
            faults.push(format!("cast: {}", &text[at..]));
        }
    }
    let mut rest = text.replace("::", "");
    // `SET a = …, b = …` assigns, and compares nothing.
    if let Some(at) = rest.find("SET ") {
        let end = rest
            .find(" WHERE ")
            .filter(|end| *end > at)
            .unwrap_or(rest.len());
        let assigned = rest[at..end].replace('=', " ");
        rest.replace_range(at..end, &assigned);
    }
    faults.extend(
        rest.chars()
            .filter(|c| "=<>+-*/~!@#%^&|?".contains(*c))
            .map(|c| format!("operator: {c}")),
    );
    let name_ends = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');
    for (at, _) in rest.match_indices('(') {
        let name = rest[..at].rsplit(name_ends).next().unwrap_or_default();
        let is_qualified = name.starts_with("pg_catalog.") || name.starts_with("lockguard.");
        if !(name.is_empty() || is_qualified || NO_FUNCTIONS.contains(&name)) {
            faults.push(format!("function: {name}"));
        }
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    for pair in words.windows(2) {
        let is_table = ["FROM", "JOIN", "INTO", "UPDATE"].contains(&pair[0]) && pair[1] != "SET";
        let is_qualified = pair[1].starts_with("pg_catalog.") || pair[1].starts_with("lockguard.");
        if is_table && !is_qualified {
            faults.push(format!("table: {}", pair[1]));
        }
    }
    faults
}

fn no_query_of_ours_calls_anything_unqualified(_: &World) {
    // What is to be found is found.
    for query in [
        "SELECT p.a FROM policies p",
        "SELECT now()",
        "SELECT p.a FROM lockguard.policies p WHERE p.a = $1",
        "SELECT p.a::text FROM lockguard.policies p",
        "UPDATE lockguard.trail SET a = now()",
        "UPDATE lockguard.trail SET a = $1 WHERE id = $2",
        "DELETE FROM lockguard.trail t WHERE EXISTS (SELECT FROM pg_roles)",
        "INSERT INTO trail (a) VALUES ($1)",
    ] {
        assert_eq!(faults(query).len(), 1, "{query}: {:?}", faults(query));
    }
    let files = files_with(&["Spi::", ".select("]);
    let mut queries = 0;
    for file in &files {
        let text = std::fs::read_to_string(repository().join(file)).unwrap();
        for query in literals(&text).iter().filter(|l| is_query(l)) {
            assert_eq!(faults(query), [""; 0], "{file}: {query}");
            queries += 1;
        }
    }
    // One for each place that runs something, at least.
    assert!(queries >= 13, "{queries} in {files:?}");
    println!("{queries} queries in {} files", files.len());
}

/// What each role is told by each statement: `ok`, or a SQLSTATE. The roles: an ordinary one, the borrower of
/// policy `p`, its owner (the database's owner too), members of `pg_monitor` and of `pg_signal_backend`,
/// a superuser.
const MATRIX: [(&str, [&str; 6]); 39] = {
    const NONE: [&str; 6] = ["42501", "42501", "42501", "42501", "42501", "ok"];
    const ALL: [&str; 6] = ["ok"; 6];
    const OWNER: [&str; 6] = ["42501", "42501", "ok", "42501", "42501", "ok"];
    [
        ("SELECT FROM lockguard.maintenance_rules", ALL),
        ("SELECT FROM lockguard.policies", ALL),
        ("SELECT FROM lockguard.policy_loans", ALL),
        ("SELECT FROM lockguard.preemptions", ALL),
        ("SELECT FROM lockguard.owed", ALL),
        ("SELECT FROM lockguard.trail", NONE),
        ("SELECT query FROM lockguard.trail FOR UPDATE", NONE),
        ("SELECT last_value FROM lockguard.trail_id_seq", NONE),
        ("SELECT nextval('lockguard.trail_id_seq')", NONE),
        (
            "INSERT INTO lockguard.policies VALUES ('x', 10, '{}')",
            NONE,
        ),
        ("INSERT INTO lockguard.policy_loans VALUES ('p', 10)", NONE),
        ("UPDATE lockguard.trail SET settled_at = now()", NONE),
        ("LOCK TABLE lockguard.policies IN ROW EXCLUSIVE MODE", NONE),
        (
            "LOCK TABLE lockguard.maintenance_rules IN ACCESS EXCLUSIVE MODE",
            NONE,
        ),
        ("LOCK TABLE lockguard.trail IN ACCESS SHARE MODE", NONE),
        ("CREATE TABLE lockguard.mine ()", NONE),
        ("CREATE INDEX ON lockguard.policies (owner)", NONE),
        (
            "ALTER TABLE lockguard.policies ENABLE ROW LEVEL SECURITY",
            NONE,
        ),
        (
            "CREATE OR REPLACE VIEW lockguard.owed AS SELECT 1",
            ["42501", "42501", "42501", "42501", "42501", "42P16"],
        ),
        ("GRANT SELECT ON lockguard.trail TO PUBLIC", NONE),
        (
            "CREATE TABLE scratch.x (name text REFERENCES lockguard.policies)",
            NONE,
        ),
        (
            "CREATE TEMP TABLE x (); CREATE TRIGGER t BEFORE TRUNCATE ON x EXECUTE FUNCTION lockguard.protect_builtin_rules()",
            NONE,
        ),
        (
            "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION lockguard.guard()",
            NONE,
        ),
        ("ALTER EVENT TRIGGER zzz_lockguard DISABLE", NONE),
        ("ALTER EVENT TRIGGER lockguard_unguarded DISABLE", NONE),
        ("SELECT lockguard.enable_guard()", NONE),
        ("SELECT lockguard.disable_guard()", NONE),
        ("SELECT FROM lockguard.guarded()", ALL),
        ("SELECT FROM lockguard.guarding", ALL),
        ("DELETE FROM lockguard.guarding", NONE),
        ("DROP EXTENSION lockguard", NONE),
        (
            "SELECT FROM lockguard.locks_of('DROP TABLE private.t')",
            NONE,
        ),
        (
            "SELECT FROM lockguard.preempt_maintenance('{\"statement\": \"DROP TABLE private.t\"}')",
            NONE,
        ),
        ("SELECT lockguard.store_policy('x', '{}')", OWNER),
        ("SELECT lockguard.drop_policy('p')", OWNER),
        ("SELECT lockguard.lend_policy('p', 'pg_monitor')", OWNER),
        ("SELECT lockguard.revoke_policy('p', 'pg_monitor')", OWNER),
        ("SELECT lockguard.set_ceiling('p')", NONE),
        (
            "SELECT lockguard.settle((SELECT max(id) FROM lockguard.trail))",
            NONE,
        ),
    ]
};

fn each_role_may_what_the_review_says(world: &World) {
    let stage = Stage::new(world.database());
    stage.admin.run(
        "CREATE SCHEMA scratch; GRANT ALL ON SCHEMA scratch TO PUBLIC; \
         CREATE SCHEMA private; CREATE TABLE private.t ()",
    );
    let owner = stage.create_role("owner", "");
    let borrower = stage.create_role("borrower", "");
    let roles = [
        stage.create_role("ordinary", ""),
        borrower.clone(),
        owner.clone(),
        stage.create_role("monitor", "IN ROLE pg_monitor"),
        stage.create_role("signaller", "IN ROLE pg_signal_backend"),
        stage.create_role("root", "SUPERUSER"),
    ];
    let database = stage.database.name();
    stage
        .admin
        .run(&format!("ALTER DATABASE {database} OWNER TO {owner}"));
    stage.session(&owner, "owner").run(&format!(
        "SELECT lockguard.store_policy('p', '{{}}'); SELECT lockguard.lend_policy('p', '{borrower}')"
    ));
    let sessions = roles.map(|role| stage.session(&role, "app"));
    for (statement, expected) in MATRIX {
        for (who, (session, expected)) in sessions.iter().zip(expected).enumerate() {
            session.run("BEGIN");
            let told = match session.try_run(statement) {
                Ok(_) => "ok".to_owned(),
                Err(error) => error.code().map_or(String::new(), |c| c.code().to_owned()),
            };
            session.run("ROLLBACK");
            // There is no row yet, so that a superuser settles NULL.
            let expected = match statement.contains("settle(") && expected == "ok" {
                true => "22004",
                false => expected,
            };
            assert_eq!(told, expected, "role {who}: {statement}");
        }
    }
}
