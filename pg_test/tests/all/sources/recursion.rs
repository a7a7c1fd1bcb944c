//! Nothing calls itself as deep as somebody's data are: only as deep as a text is nested, and there it asks the
//! server at each step whether there is stack left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use libtest_mimic::Trial;
use syn::visit::Visit;

use super::calls::{Words, graph, is_test};
use super::files;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        only_what_follows_a_text_calls_itself_and_checks_the_stack,
        only_statements_hold_their_like,
    ]
}

/// Who follows a text's nesting, and so may call itself at all: the parser, and what works with its statements.
const OF_A_TEXT: [&str; 2] = ["pg/parser/", "needs/plan/mod.rs: Plan::statement"];

/// What looks like a call of one's own function, and is one of another type's that is named alike: who calls,
/// and what.
const OF_ANOTHER_TYPE: &[(&str, &str)] = &[
    ("act/account.rs: Watch::chain", "chain"),
    ("act/mod.rs: Call::run", "run"),
    ("act/reread.rs: Aim::read_needs", "is_unchanged"),
    ("act/wanted.rs: Call::is_still_lent", "is_still_lent"),
    ("act/watch.rs: Watch::look", "look"),
    ("act/target.rs: Aim::way", "way"),
    ("act/target.rs: Aim::remark", "remark"),
    ("act/target.rs: Aim::is_empty", "is_empty"),
    ("audit/trail.rs: Trail::tell", "tell"),
    ("needs/plan/names.rs: Names::place_of", "find"),
    ("policy/selector.rs: Selectors::verdict", "verdict"),
    ("session/progress.rs: Counters::fraction", "fraction"),
    ("session/progress.rs: Vacuum::fraction", "fraction"),
    ("session/progress.rs: Rewrite::fraction", "fraction"),
];

fn only_what_follows_a_text_calls_itself_and_checks_the_stack(_: &World) {
    let (functions, mut calls) = graph(&files());
    assert!(functions.len() > 500, "{} functions", functions.len());
    let mut needless: HashSet<_> = OF_ANOTHER_TYPE.iter().collect();
    for (caller, called) in calls.iter_mut().enumerate() {
        let name = functions[caller].shown();
        called.retain(|i| {
            let pair = (name.as_str(), functions[*i].name());
            let other = OF_ANOTHER_TYPE.iter().find(|other| **other == pair);
            if let Some(other) = other {
                needless.remove(other);
            }
            other.is_none()
        });
    }
    assert!(needless.is_empty(), "no such calls any more: {needless:?}");

    let may = |i: usize| {
        let name = functions[i].shown();
        functions[i].checks_stack() && OF_A_TEXT.iter().any(|start| name.starts_with(start))
    };
    let shown: Vec<String> = circles(&calls, may)
        .iter()
        .map(|circle| {
            let names: Vec<String> = circle.iter().map(|i| functions[*i].shown()).collect();
            names.join(", ")
        })
        .collect();
    assert!(
        shown.is_empty(),
        "these call themselves, directly or through each other, and do not follow a text with check_stack():\n{}",
        shown.join("\n")
    );
    // The parser does, or nothing is found any more.
    assert!(!circles(&calls, |_| false).is_empty());
}

/// What holds its like is dropped, copied and compared by functions that the compiler writes and that call
/// themselves as deep as it is nested: a statement, which is as deep as the parser has followed the text.
fn only_statements_hold_their_like(_: &World) {
    let mut types = Types::default();
    let files = files();
    for (_, file) in &files {
        types.visit_file(file);
    }
    assert!(types.0.len() > 100, "{} types", types.0.len());
    let names: Vec<&String> = types.0.keys().collect();
    let place: HashMap<&String, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let holds: Vec<Vec<usize>> = names
        .iter()
        .map(|name| {
            let words = types.0[*name].iter();
            words.filter_map(|word| place.get(word).copied()).collect()
        })
        .collect();
    let mut found: Vec<String> = circles(&holds, |_| false)
        .into_iter()
        .flatten()
        .map(|i| names[i].clone())
        .collect();
    found.sort();
    assert_eq!(found, ["Statement"]);
}

/// The types, and the names in their fields.
#[derive(Default)]
struct Types(HashMap<String, HashSet<String>>);

impl<'ast> Visit<'ast> for Types {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.ident, item.fields.iter());
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.ident, item.variants.iter().flat_map(|v| &v.fields));
    }
}

impl Types {
    fn add<'a>(&mut self, name: &proc_macro2::Ident, fields: impl Iterator<Item = &'a syn::Field>) {
        let mut words = Words::default();
        fields.for_each(|field| words.visit_type(&field.ty));
        self.0.entry(name.to_string()).or_default().extend(words.0);
    }
}

/// Those that can be come to from themselves again without one that is `exempt`, each circle once.
fn circles(calls: &[Vec<usize>], exempt: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = vec![];
    for first in 0..calls.len() {
        if exempt(first) || found.iter().flatten().any(|known| *known == first) {
            continue;
        }
        let reach = |from: usize| {
            let mut reached = vec![false; calls.len()];
            let mut next = vec![from];
            while let Some(at) = next.pop() {
                for to in calls[at].iter().filter(|to| !exempt(**to)) {
                    if !std::mem::replace(&mut reached[*to], true) {
                        next.push(*to);
                    }
                }
            }
            reached
        };
        let reached = reach(first);
        if reached[first] {
            let all = (0..calls.len()).filter(|at| reached[*at]);
            found.push(all.filter(|at| reach(*at)[first]).collect());
        }
    }
    found
}
