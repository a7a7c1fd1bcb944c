//! Documents of a size that nobody would write: many relations, long words, deep nesting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::{Ground, bad, call, refused, works};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        ten_thousand_relations_are_cleared,
        a_megabyte_is_read_or_refused,
        deep_nesting_is_refused,
    ]
}

const MEGABYTE: usize = 1 << 20;

fn ten_thousand_relations_are_cleared(world: &World) {
    let ground = Ground::new(world);
    ground.caller.run("SET statement_timeout = '10min'");
    ground.caller.run(
        "DO $$BEGIN FOR i IN 1..10000 LOOP EXECUTE format('CREATE TABLE many_%s ()', i); \
         IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END$$",
    );
    ground.caller.run("RESET statement_timeout");
    let names: Vec<String> = (1..=10_000).map(|i| format!("\"many_{i}\"")).collect();
    let document = format!(r#"{{"relations": [{}]}}"#, names.join(","));
    let backups = [1, 5_000, 10_000].map(|i| {
        let backup = ground.database.session("pg_dump");
        backup.run(&format!("BEGIN; SELECT FROM many_{i}"));
        backup
    });
    let before = Instant::now();
    let rows = ground.caller.run(&call(&document));
    let took = before.elapsed();
    println!("10,000 relations with 3 holders: {} ms", took.as_millis());
    assert_eq!(rows.len(), 3);
    for (row, backup) in rows.iter().zip(&backups) {
        assert_eq!(row.text("pid"), backup.pid().to_string());
        assert_eq!(row.text("verdict"), "terminated");
    }
    // A mistake that made it quadratic would take minutes.
    assert!(took < pg_test::slow(Duration::from_secs(20)), "{took:?}");
    ground.backup.run("SELECT count(*) FROM t");
}

fn a_megabyte_is_read_or_refused(world: &World) {
    let long = "x".repeat(MEGABYTE);
    let stars = "*?".repeat(MEGABYTE / 2);
    let many = |word: &str| vec![word; MEGABYTE / word.len()].join(",");
    let at = "$.relations[0]";
    let before = Instant::now();
    Ground::new(world).check(&[
        works(format!(r#"{{"relations": [{}]}}"#, many(r#""free""#))),
        // What would take long to match is refused.
        bad(
            format!(
                r#"{{"relations": ["free"], "preempt": [{}]}}"#,
                many(r#""backup""#)
            ),
            "$.preempt",
            "",
        ),
        bad(
            format!(r#"{{"relations": ["free"], "preempt": [{{"query": "{stars}"}}]}}"#),
            "$.preempt[0].query",
            "",
        ),
        refused(
            format!(r#"{{"relations": ["{long}"]}}"#),
            "42P01",
            Some(at),
            "spelling",
        ),
        refused(
            format!(r#"{{"relations": ["{long}.public.t"]}}"#),
            "42P01",
            Some(at),
            "Connect to database",
        ),
        bad(
            format!(r#"{{"relations": ["{long} {long}"]}}"#),
            at,
            "as in SQL",
        ),
        bad(format!(r#"{{"relations": "{long}"}}"#), "$.relations", ""),
        bad(
            format!(r#"{{"relations": ["t"], "{long}": 1}}"#),
            "$",
            "Valid are: ",
        ),
        bad(
            format!(r#"{{"relations": ["t"], "preempt": ["{long}"]}}"#),
            "$.preempt[0]",
            "Valid are: ",
        ),
        bad(
            format!(r#"{{"relations": ["t"], "signal": "{long}"}}"#),
            "$.signal",
            "Valid are: ",
        ),
        bad(
            format!(r#"{{"relations": ["t"], "mode": "{long}"}}"#),
            "$.mode",
            "Valid are: ",
        ),
        bad(
            format!(r#"{{"relations": ["t"], "timeout": "{long}"}}"#),
            "$.timeout",
            "with its unit",
        ),
        bad(
            format!(r#"{{"relations": ["t"], "timeout": "1 {long}"}}"#),
            "$.timeout",
            "with its unit",
        ),
        bad(
            format!(
                r#"{{"relations": ["t"], "timeout": "{}"}}"#,
                "1".repeat(MEGABYTE)
            ),
            "$.timeout",
            "with its unit",
        ),
        bad(
            format!(r#"{{"relations": ["t"], "timeout": {}}}"#, "1".repeat(1000)),
            "$",
            "",
        ),
        bad(format!("[{}]", many("1")), "$", ""),
        bad(format!("\"{long}\""), "$", ""),
    ]);
    println!("{} ms", before.elapsed().as_millis());
}

fn deep_nesting_is_refused(world: &World) {
    let nest = |depth: usize, open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let mut cases = vec![];
    for depth in [100, 127, 128, 5_000] {
        let path = |otherwise| if depth >= 127 { "$" } else { otherwise };
        let array = nest(depth, "[", "", "]");
        let object = nest(depth, r#"{"preempt": "#, "1", "}");
        cases.push(bad(array.clone(), "$", ""));
        cases.push(bad(object, "$", ""));
        cases.push(bad(
            format!(r#"{{"relations": ["t"], "preempt": {array}}}"#),
            path("$.preempt[0]"),
            "",
        ));
        cases.push(bad(
            format!(r#"{{"relations": ["t"], "timeout": {array}}}"#),
            path("$.timeout"),
            "",
        ));
    }
    Ground::new(world).check(&cases);
}
