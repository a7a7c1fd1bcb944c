//! Patterns over names: `*` for any characters, `?` for one, as psql has them; case-sensitive.

use wildmatch::WildMatch;

/// A pattern that a whole text matches or does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(WildMatch);

impl Pattern {
    pub fn new(pattern: &str) -> Pattern {
        Pattern(WildMatch::new(pattern))
    }

    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn star_and_question_mark_are_the_only_special_characters() {
        assert!(Pattern::new("pg_dump*").matches("pg_dump"));
        assert!(Pattern::new("pg_dump*").matches("pg_dumpall"));
        assert!(Pattern::new("job-??").matches("job-42"));
        assert!(!Pattern::new("job-??").matches("job-421"));
        assert!(Pattern::new("a.b[c]+").matches("a.b[c]+"));
        assert!(!Pattern::new("a.b").matches("axb"));
    }

    #[test]
    fn case_counts_and_the_whole_text_must_match() {
        assert!(!Pattern::new("Heroku*").matches("heroku postgres backups"));
        assert!(!Pattern::new("dump").matches("pg_dump"));
        assert!(Pattern::new("").matches(""));
        assert!(!Pattern::new("").matches("x"));
    }
}
