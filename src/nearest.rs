//! The valid word most like a mistyped one, for hints.

/// The candidate most like `given`, if any is like it at all (Jaro-Winkler of 0.8 and above, case
/// aside). Ties go to the first.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A word is short; whoever sends a megabyte gets no hint rather than a long computation.
    if given.len() > 200 {
        return None;
    }
    let given = given.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let likeness = strsim::jaro_winkler(&given, &candidate.to_lowercase());
        if likeness >= 0.8 && best.is_none_or(|(b, _)| likeness > b) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typing_error_finds_its_word() {
        let words = ["relations", "pid", "mode", "preempt", "spare"];
        assert_eq!(nearest("relation", words), Some("relations"));
        assert_eq!(nearest("Preemt", words), Some("preempt"));
    }

    #[test]
    fn what_is_like_nothing_gets_no_hint() {
        assert_eq!(nearest("zzz", ["relations", "pid"]), None);
        assert_eq!(nearest(&"relations".repeat(1000), ["relations"]), None);
    }
}
