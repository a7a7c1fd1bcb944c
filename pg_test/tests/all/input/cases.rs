//! The table of documents, key by key. Those that must be refused name the table that a backup holds, so
//! that a lenient reading would be seen to harm it.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{Case, Ground, bad, works};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        null_is_refused,
        what_is_no_object_is_refused,
        there_is_one_target,
        an_unknown_key_is_refused_with_the_nearest_valid_one,
        classes_and_rules_are_checked_at_depth,
        intervals_need_a_unit_and_reason,
        odd_intervals_that_postgresql_reads_are_read,
        modes_words_and_numbers_are_checked,
        duplicate_keys_are_as_in_jsonb,
    ]
}

fn null_is_refused(world: &World) {
    let ground = Ground::new(world);
    let error = ground
        .caller
        .error("SELECT * FROM lockguard.preempt_maintenance(NULL)");
    assert_eq!(error.code().code(), "22004");
    assert_eq!(error.message(), "policy must not be null");
    for (sql, what) in [
        ("NULL", "relations"),
        ("'{t}', NULL", "mode"),
        ("'{t, NULL}'", "an element of relations"),
    ] {
        let error = ground
            .caller
            .error(&format!("SELECT * FROM lockguard.blockers_of({sql})"));
        assert_eq!(error.code().code(), "22004");
        assert_eq!(error.message(), format!("{what} must not be null"));
    }
}

fn what_is_no_object_is_refused(world: &World) {
    let documents = [
        "[]",
        "\"t\"",
        "5",
        "true",
        "null",
        "[\"t\"]",
        "[{\"relations\": [\"t\"]}]",
    ];
    Ground::new(world).check(&documents.map(|document| bad(document, "$", "")));
}

fn there_is_one_target(world: &World) {
    let ground = Ground::new(world);
    let pid = ground.backup.pid();
    ground.check(&[
        bad("{}", "$", "\"relations\""),
        bad(r#"{"dry_run": true}"#, "$", "\"relations\""),
        bad(
            format!(r#"{{"relations": ["t"], "pid": {pid}}}"#),
            "$",
            "one of \"relations\", \"statement\" and \"pid\"",
        ),
        bad(
            r#"{"relations": ["t"], "statement": "DROP TABLE t"}"#,
            "$",
            "one of \"relations\", \"statement\" and \"pid\"",
        ),
        bad(
            r#"{"statement": "DROP TABLE t", "mode": "ShareLock"}"#,
            "$.mode",
            "worked out from the DDL",
        ),
        bad(r#"{"statement": ["DROP TABLE t"]}"#, "$.statement", ""),
        bad(
            format!(r#"{{"pid": {pid}, "mode": "ShareLock"}}"#),
            "$.mode",
            "the mode is the one that the session waits for",
        ),
        bad(r#"{"relations": "t"}"#, "$.relations", "array of one"),
        bad(r#"{"relations": "ALL"}"#, "$.relations", "array of one"),
        bad(r#"{"relations": []}"#, "$.relations", "\"all\""),
        bad(r#"{"relations": {"t": true}}"#, "$.relations", ""),
        bad(r#"{"relations": null}"#, "$.relations", ""),
        bad(r#"{"relations": ["t", 5]}"#, "$.relations[1]", ""),
        bad(r#"{"relations": ["t", null]}"#, "$.relations[1]", ""),
        bad(r#"{"relations": [["t"]]}"#, "$.relations[0]", ""),
    ]);
}

/// Beside a valid target.
fn with(entries: &str) -> String {
    format!(r#"{{"relations": ["t"], {entries}}}"#)
}

/// The same where nobody is in the way.
fn free_with(entries: &str) -> String {
    format!(r#"{{"relations": ["free"], {entries}}}"#)
}

fn an_unknown_key_is_refused_with_the_nearest_valid_one(world: &World) {
    Ground::new(world).check(&[
        bad(
            with(r#""preemt": []"#),
            "$",
            "Perhaps you meant \"preempt\".",
        ),
        bad(
            with(r#""Timeout": "1s""#),
            "$",
            "Perhaps you meant \"timeout\".",
        ),
        bad(
            with(r#""dryrun": true"#),
            "$",
            "Perhaps you meant \"dry_run\".",
        ),
        bad(
            with(r#""on timeout": "report""#),
            "$",
            "Perhaps you meant \"on_timeout\".",
        ),
        bad(
            with(r#""zzz": 1"#),
            "$",
            "Valid are: relations, statement, pid, mode",
        ),
        bad(with(r#""": 1"#), "$", "Valid are: "),
        bad(with("\"\\u0001\\n\\\"\": 1"), "$", "Valid are: "),
        bad(with(r#""größe": 1"#), "$", "Valid are: "),
        bad(
            r#"{"relation": ["t"]}"#,
            "$",
            "Perhaps you meant \"relations\".",
        ),
    ]);
}

fn classes_and_rules_are_checked_at_depth(world: &World) {
    const NARROW: &str = "names more than the class";
    let mut cases: Vec<Case> = vec![];
    for key in ["preempt", "spare"] {
        let at = |entries: &str| with(&format!(r#""{key}": {entries}"#));
        let path = |rest: &str| format!("$.{key}{rest}");
        cases.extend([
            bad(at(r#""backup""#), &path(""), ""),
            bad(at("null"), &path(""), ""),
            bad(at("{}"), &path(""), ""),
            bad(
                at(r#"["backup", "vacum"]"#),
                &path("[1]"),
                "Perhaps you meant \"vacuum\".",
            ),
            bad(
                at(r#"["Backup"]"#),
                &path("[0]"),
                "Perhaps you meant \"backup\".",
            ),
            bad(
                at(r#"["everybody"]"#),
                &path("[0]"),
                "Valid are: autovacuum_wraparound",
            ),
            bad(at(r#"["application"]"#), &path("[0]"), NARROW),
            bad(at(r#"[{"class": "application"}]"#), &path("[0]"), NARROW),
            bad(at(r#"["backup", {}]"#), &path("[1]"), "Criteria are: class"),
            bad(at(r#"["backup", 5]"#), &path("[1]"), ""),
            bad(at(r#"[["backup"]]"#), &path("[0]"), ""),
            bad(at("[null]"), &path("[0]"), ""),
            bad(
                at(r#"[{"class": "backups"}]"#),
                &path("[0].class"),
                "Perhaps you meant \"backup\".",
            ),
            bad(at(r#"[{"class": ["backup"]}]"#), &path("[0].class"), ""),
            bad(
                at(r#"[{"user": "etl"}]"#),
                &path("[0]"),
                "Perhaps you meant \"usename\".",
            ),
            bad(
                at(r#"["backup", {"usename": 7}]"#),
                &path("[1].usename"),
                "",
            ),
            bad(at(r#"[{"usename": null}]"#), &path("[0].usename"), ""),
            bad(at(r#"[{"query": ["*"]}]"#), &path("[0].query"), ""),
            bad(at(r#"[{"client_addr": {}}]"#), &path("[0].client_addr"), ""),
            bad(
                at(r#"[{"older_than": 5}]"#),
                &path("[0].older_than"),
                "with its unit",
            ),
            bad(
                at(r#"[{"older_than": "5"}]"#),
                &path("[0].older_than"),
                "with its unit",
            ),
            bad(
                at(r#"[{"younger_than": true}]"#),
                &path("[0].younger_than"),
                "",
            ),
            bad(
                at(r#"[{"class": "application", "older_than": "-1s"}]"#),
                &path("[0].older_than"),
                "",
            ),
        ]);
    }
    cases.extend([
        works(free_with(r#""preempt": []"#)),
        works(free_with(r#""spare": []"#)),
        works(free_with(
            r#""preempt": ["backup", "backup", {"class": "backup"}]"#,
        )),
        works(free_with(
            r#""preempt": [{"class": "application", "usename": "etl*"}]"#,
        )),
        works(free_with(
            r#""preempt": [{"query": "", "application_name": "*"}]"#,
        )),
        works(free_with(
            r#""preempt": [{"older_than": "0s", "younger_than": "90 years"}]"#,
        )),
    ]);
    Ground::new(world).check(&cases);
}

fn intervals_need_a_unit_and_reason(world: &World) {
    let mut cases: Vec<Case> = vec![];
    for key in ["timeout", "grace"] {
        let path = format!("$.{key}");
        let at = |value: &str| with(&format!(r#""{key}": {value}"#));
        for bare in [
            "5",
            "0",
            "1.5",
            "-3",
            "1e3",
            r#""5""#,
            r#"" 5 ""#,
            r#""-1.5""#,
            r#""1e3""#,
        ] {
            cases.push(bad(at(bare), &path, "with its unit"));
        }
        for nonsense in [
            r#""""#,
            r#"" ""#,
            r#""abc""#,
            r#""1 month 2 bananas""#,
            r#""-1s""#,
            r#""2 min ago""#,
            r#""-00:00:05""#,
            r#""5 s; DROP TABLE t""#,
            r#""99999999999999999999 s""#,
            r#""5\u0001s""#,
            r#""５ s""#,
        ] {
            cases.push(bad(at(nonsense), &path, "with its unit"));
        }
        for absurd in [
            r#""1000 years""#,
            r#""1 century""#,
            r#""8 days""#,
            r#""1 mon""#,
            r#""178000000 years""#,
        ] {
            cases.push(bad(at(absurd), &path, ""));
        }
        for other in [
            "null",
            "true",
            "[]",
            r#"{"seconds": 5}"#,
            r#""infinity""#,
            r#""-infinity""#,
        ] {
            cases.push(bad(at(other), &path, ""));
        }
    }
    cases.extend([
        bad(
            with(r#""timeout": "0s""#),
            "$.timeout",
            "from 1ms to 7 days",
        ),
        bad(
            with(r#""timeout": "0.1 ms""#),
            "$.timeout",
            "from 1ms to 7 days",
        ),
        bad(
            with(r#""timeout": "1 week 1 s""#),
            "$.timeout",
            "from 1ms to 7 days",
        ),
        bad(
            with(r#""grace": "1 week 1 s""#),
            "$.grace",
            "from 0s to 7 days",
        ),
    ]);
    Ground::new(world).check(&cases);
}

fn odd_intervals_that_postgresql_reads_are_read(world: &World) {
    let odd = [
        "500ms",
        "2 min",
        "00:00:05",
        "PT5S",
        "1.5 s",
        "1s",
        " 3 s ",
        "1 min 2 s",
        "P1D",
        "7 days",
        "1 week",
        "5 SECONDS",
        "+5s",
    ];
    let mut cases: Vec<Case> = odd
        .into_iter()
        .flat_map(|text| {
            ["timeout", "grace"].map(|key| works(free_with(&format!(r#""{key}": "{text}""#))))
        })
        .collect();
    cases.push(works(free_with(r#""grace": "0s""#)));
    Ground::new(world).check(&cases);
}

fn modes_words_and_numbers_are_checked(world: &World) {
    Ground::new(world).check(&[
        bad(
            with(r#""mode": "AccesExclusiveLock""#),
            "$.mode",
            "Perhaps you meant \"AccessExclusiveLock\".",
        ),
        bad(
            with(r#""mode": "acess exclusive""#),
            "$.mode",
            "Perhaps you meant \"ACCESS EXCLUSIVE\".",
        ),
        bad(
            with(r#""mode": "purple""#),
            "$.mode",
            "Valid are: AccessShareLock",
        ),
        bad(
            with(r#""mode": """#),
            "$.mode",
            "Valid are: AccessShareLock",
        ),
        bad(with(r#""mode": 8"#), "$.mode", ""),
        bad(with(r#""mode": null"#), "$.mode", ""),
        works(free_with(r#""mode": "access  EXCLUSIVE""#)),
        works(free_with(r#""mode": "shareupdateexclusivelock""#)),
        bad(
            with(r#""signal": "kill""#),
            "$.signal",
            "Valid are: cancel, terminate, escalate",
        ),
        bad(
            with(r#""signal": "Cancel""#),
            "$.signal",
            "Perhaps you meant \"cancel\".",
        ),
        bad(with(r#""signal": 9"#), "$.signal", ""),
        bad(
            with(r#""on_timeout": "raise""#),
            "$.on_timeout",
            "Valid are: error, report",
        ),
        bad(with(r#""on_timeout": null"#), "$.on_timeout", ""),
        bad(with(r#""dry_run": "true""#), "$.dry_run", ""),
        bad(with(r#""dry_run": 1"#), "$.dry_run", ""),
        bad(with(r#""dry_run": null"#), "$.dry_run", ""),
        bad(with(r#""max_victims": -1"#), "$.max_victims", ""),
        bad(with(r#""max_victims": 1.5"#), "$.max_victims", ""),
        bad(with(r#""max_victims": "3""#), "$.max_victims", ""),
        bad(with(r#""max_victims": 2147483648"#), "$.max_victims", ""),
        bad(with(r#""max_victims": 1e400"#), "$", ""),
        bad(with(r#""max_victims": -1e400"#), "$", ""),
        bad(with(r#""max_victims": 1e-400"#), "$.max_victims", ""),
        bad(
            with(r#""max_victims": 99999999999999999999999"#),
            "$.max_victims",
            "",
        ),
        works(free_with(r#""max_victims": 0"#)),
        works(free_with(r#""max_victims": 1e3"#)),
        works(free_with(r#""max_victims": 2147483647"#)),
    ]);
}

fn duplicate_keys_are_as_in_jsonb(world: &World) {
    Ground::new(world).check(&[
        works(r#"{"relations": ["t"], "relations": ["free"]}"#),
        bad(
            r#"{"relations": ["free"], "relations": ["t", 1]}"#,
            "$.relations[1]",
            "",
        ),
        bad(
            with(r#""timeout": "1s", "timeout": 1"#),
            "$.timeout",
            "with its unit",
        ),
    ]);
}
