//! Text as the server has it: bytes in the database's encoding, which SQL_ASCII does not even ask to be any.
//!
//! What goes back to the server (a name that is looked up, a setting, the text of a statement) is of this type
//! from the moment that it comes from there, so that it goes back as it came. `String` is for people: what is
//! no text in UTF-8 is lost in it, and two names may read the same. That is why nothing here makes one out of
//! the other; what is for people's eyes, and what people have written, is converted by `pg::text`, by name.

use std::ffi::{CStr, CString};
use std::fmt;

/// A name, a setting or a statement in the server's own bytes, none of which is zero. They are compared and
/// ordered as bytes, as the server does with names.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerText(CString);

impl ServerText {
    /// Of the server's own bytes; none where there is a zero among them, after which no server would read on.
    pub fn of_bytes(bytes: impl Into<Vec<u8>>) -> Option<ServerText> {
        CString::new(bytes).ok().map(ServerText)
    }

    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.to_bytes()
    }

    /// Without white space around it.
    pub fn trimmed(&self) -> ServerText {
        ServerText::of_bytes(self.as_bytes().trim_ascii()).unwrap_or_default()
    }

    /// Those parts, one after the other.
    pub fn concat<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> ServerText {
        let mut all = vec![];
        parts.into_iter().for_each(|part| all.extend(part));
        // What a caller adds of its own has no zero either; where it had, the text would end there.
        let end = all.iter().position(|byte| *byte == 0);
        all.truncate(end.unwrap_or(all.len()));
        ServerText::of_bytes(all).unwrap_or_default()
    }

    /// The texts with that between each two of them.
    pub fn join(texts: &[ServerText], between: &CStr) -> ServerText {
        let parts = texts.iter().enumerate().flat_map(|(i, text)| {
            let between = if i == 0 { c"" } else { between };
            [between.to_bytes(), text.as_bytes()]
        });
        ServerText::concat(parts)
    }

    /// As an SQL identifier in quotes.
    pub fn quoted(&self) -> ServerText {
        let mut quoted = vec![b'"'];
        for byte in self.as_bytes() {
            if *byte == b'"' {
                quoted.push(b'"');
            }
            quoted.push(*byte);
        }
        quoted.push(b'"');
        ServerText::of_bytes(quoted).unwrap_or_default()
    }
}

/// A C string is one already, or a word of our own in ASCII, which every encoding of a server contains.
impl From<&CStr> for ServerText {
    fn from(text: &CStr) -> ServerText {
        ServerText(text.to_owned())
    }
}

impl PartialEq<CStr> for ServerText {
    fn eq(&self, other: &CStr) -> bool {
        self.as_c_str() == other
    }
}

/// For developers; what people read is made by `pg::text`.
impl fmt::Debug for ServerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_c_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> ServerText {
        ServerText::of_bytes(bytes).unwrap()
    }

    #[test]
    fn names_that_differ_in_a_byte_are_two() {
        assert_ne!(text(b"t\xe9"), text(b"t\xe8"));
        assert!(text(b"t\xe8") < text(b"t\xe9"));
        assert!(text(b"tz") < text(b"t\xe8"));
        assert!(text(b"t") == *c"t");
    }

    #[test]
    fn a_zero_byte_is_in_none() {
        assert_eq!(ServerText::of_bytes(b"t\0x"), None);
        assert_eq!(ServerText::concat([&b"t"[..], b"\0x"]), text(b"t"));
    }

    #[test]
    fn parts_are_joined_and_quoted_as_bytes() {
        let parts = [text(b"\xe9"), text(b"b")];
        assert_eq!(ServerText::join(&parts, c"_"), text(b"\xe9_b"));
        assert_eq!(ServerText::join(&[], c"_"), text(b""));
        assert_eq!(text(b"a\"\xe9").quoted(), text(b"\"a\"\"\xe9\""));
    }
}
