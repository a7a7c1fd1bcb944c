//! Text between the server, which has it in the database's encoding, and Rust, which has UTF-8.
//!
//! What goes back to the server is a [`ServerText`] from the start; what is here is for people. Nothing of it
//! raises an error, but 53200 where there is no memory for a text of 16 kB and more: a byte that is no text is written as `\\xe9`, as the server writes those of an
//! `application_name` (`pg_clean_ascii`), so that what differs reads differently, and a character that the
//! database's encoding has not as a question mark. Activity reports and names of prepared transactions are not even sure to be in this
//! database's encoding, for they come from all databases.

use super::reserve;
use crate::report;
use crate::server_text::ServerText;
use pgrx::pg_sys;
use std::borrow::Cow;
use std::ffi::{CStr, c_char};

/// How many times its size the copies of a text take, in between.
const COPIES: usize = 4;
const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;
const SQL_ASCII: i32 = pg_sys::pg_enc::PG_SQL_ASCII as i32;

/// The text of a C string in the database's encoding; none of a null pointer.
///
/// # Safety
/// `string` is null or a C string.
pub(super) unsafe fn from_server(string: *const c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: as promised.
    Some(from_server_bytes(
        unsafe { CStr::from_ptr(string) }.to_bytes(),
    ))
}

/// The bytes of a C string, as they are; none of a null pointer.
///
/// # Safety
/// `string` is null or a C string.
pub(super) unsafe fn kept(string: *const c_char) -> Option<ServerText> {
    if string.is_null() {
        return None;
    }
    // SAFETY: as promised.
    let string = unsafe { CStr::from_ptr(string) };
    reserve::room_for(string.count_bytes().saturating_mul(COPIES));
    Some(string.into())
}

/// The same text, as far as it is any in this database's encoding: of what comes from all databases, which may have
/// others. What is not would be an error when it is sent to a client.
pub(super) fn mended(text: ServerText) -> ServerText {
    let bytes = text.as_bytes();
    // SAFETY: it reads so many bytes, and with `noError` answers no for what is not valid.
    let is_valid =
        unsafe { pg_sys::pg_verifymbstr(bytes.as_ptr().cast(), bytes.len() as i32, true) };
    match is_valid {
        true => text,
        false => ServerText::of_bytes(to_server(&text.for_people())).unwrap_or_default(),
    }
}

impl ServerText {
    /// What people read of it; nothing looks that up again.
    pub fn for_people(&self) -> String {
        from_server_bytes(self.as_bytes())
    }

    /// The same of the text of a JSON document, whose strings read so once they are taken out of it.
    pub fn as_json(&self) -> String {
        decoded(self.as_bytes(), |byte| format!("\\\\x{byte:02x}"))
    }

    /// As an SQL literal, for people who are to give it back to the server: what it then means is this very text.
    pub fn literal(&self) -> String {
        let text = self.for_people();
        if to_server(&text) == self.as_bytes() {
            return report::literal(&text);
        }
        let escaped = self.as_bytes().iter().map(|byte| match byte {
            b'\'' => "''".into(),
            b'\\' => "\\\\".into(),
            byte if byte.is_ascii() => char::from(*byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        });
        format!("E'{}'", escaped.collect::<String>())
    }
}

/// The text of bytes in the database's encoding.
pub(super) fn from_server_bytes(bytes: &[u8]) -> String {
    decoded(bytes, |byte| format!("\\x{byte:02x}"))
}

/// The same, with that in the place of a byte which is no text.
fn decoded(bytes: &[u8], no_text: impl Fn(u8) -> String) -> String {
    reserve::room_for(bytes.len().saturating_mul(COPIES));
    let encoding = database_encoding();
    let in_utf8 = match bytes.is_ascii() || encoding == UTF8 || encoding == SQL_ASCII {
        true => Cow::Borrowed(bytes),
        false => converted(bytes, encoding, UTF8, |byte| no_text(byte).into_bytes()).into(),
    };
    let mut text = String::with_capacity(in_utf8.len());
    for chunk in in_utf8.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| no_text(*byte)));
    }
    text
}

/// Text as the database's encoding has it.
pub(super) fn to_server(text: &str) -> Vec<u8> {
    reserve::room_for(text.len().saturating_mul(COPIES));
    let encoding = database_encoding();
    match text.is_ascii() || encoding == UTF8 || encoding == SQL_ASCII {
        true => text.as_bytes().to_vec(),
        false => converted(text.as_bytes(), UTF8, encoding, |_| b"?".to_vec()),
    }
}

/// Text for a message, which pgrx hands over as it is: with escapes where it would not be text in the
/// database's encoding, as `E'…'` has them, so that an SQL literal of that kind stays one.
pub fn for_message(text: &str) -> String {
    let encoding = database_encoding();
    match text.is_ascii() || encoding == UTF8 || encoding == SQL_ASCII {
        true => text.to_owned(),
        false => text
            .chars()
            .map(|c| match u32::from(c) {
                _ if c.is_ascii() => c.to_string(),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            })
            .collect(),
    }
}

fn database_encoding() -> i32 {
    // SAFETY: set when the session starts.
    unsafe { pg_sys::GetDatabaseEncoding() }
}

/// Bytes of one encoding in another, with `instead` for each byte that cannot be converted.
fn converted(bytes: &[u8], from: i32, to: i32, instead: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    // SAFETY: a catalog look-up, the encodings being valid.
    let conversion = unsafe { pg_sys::FindDefaultConversionProc(from, to) };
    if conversion == pg_sys::InvalidOid {
        return bytes
            .iter()
            .flat_map(|b| if b.is_ascii() { vec![*b] } else { instead(*b) })
            .collect();
    }
    let mut result = vec![];
    let mut rest = bytes;
    while !rest.is_empty() {
        // The server reads only as much as is sure to fit: a quarter of the room
        // (MAX_CONVERSION_GROWTH).
        let piece = &rest[..rest.len().min(1 << 16)];
        let mut room = vec![0u8; piece.len() * 4 + 1];
        // SAFETY: source and destination have the lengths given; with `noError` it converts up to
        // the first character that it cannot, ends the result with a zero, and tells how many bytes
        // it has read.
        let read = unsafe {
            pg_sys::pg_do_encoding_conversion_buf(
                conversion,
                from,
                to,
                piece.as_ptr().cast_mut(),
                piece.len() as i32,
                room.as_mut_ptr(),
                room.len() as i32,
                true,
            )
        };
        let end = room.iter().position(|b| *b == 0).unwrap_or(room.len());
        result.extend_from_slice(&room[..end]);
        rest = &rest[usize::try_from(read).unwrap_or(0).min(piece.len())..];
        if !rest.is_empty() && usize::try_from(read).unwrap_or(0) < piece.len() {
            result.extend(instead(rest[0]));
            rest = &rest[1..];
        }
    }
    result
}
