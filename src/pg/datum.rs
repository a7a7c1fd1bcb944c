//! Values on their way in and out of SQL that pgrx has no type for.

use super::{text, wait};
use crate::server_text::ServerText;
use crate::session::Timestamp;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::{AnyElement, Datum, Inet, Interval, TimestampWithTimeZone};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;
use std::time::Duration;

/// A result of type `text`, in the database's encoding.
#[derive(Clone, Debug)]
pub struct Text(pub String);

impl IntoDatum for Text {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let bytes = text::to_server(&self.0);
        // SAFETY: the bytes are text in the database's encoding; the length is theirs.
        unsafe {
            let text = pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32);
            Some(pg_sys::Datum::from(text))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

impl FromDatum for Text {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Text> {
        // SAFETY: a datum of type text, as the caller promises; the copy is a C string.
        (!is_null).then(|| unsafe {
            let copy = pg_sys::text_to_cstring(datum.cast_mut_ptr());
            Text(text::from_server(copy).unwrap_or_default())
        })
    }
}

/// A result of type `name`, in the database's encoding.
#[derive(Clone, Debug)]
pub struct Name(pub String);

impl IntoDatum for Name {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        const SIZE: usize = pg_sys::NAMEDATALEN as usize;
        let bytes = text::to_server(&self.0);
        // SAFETY: a `name` is NAMEDATALEN bytes, zero from the end of the text on; the server's
        // function cuts between characters.
        unsafe {
            let bytes_kept =
                pg_sys::pg_mbcliplen(bytes.as_ptr().cast(), bytes.len() as i32, SIZE as i32 - 1);
            let name: *mut u8 = pg_sys::palloc0(SIZE).cast();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), name, bytes_kept as usize);
            Some(pg_sys::Datum::from(name))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::NAMEOID
    }
}

macro_rules! sql_type {
    ($rust:ty, $sql:literal) => {
        // SAFETY: the datum that `into_datum` makes is of that type.
        unsafe impl SqlTranslatable for $rust {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($rust);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }

        // SAFETY: as for any type that makes its own datum.
        unsafe impl BoxRet for $rust {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                match self.into_datum() {
                    // SAFETY: the datum is of the declared type.
                    Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
                    None => fcinfo.return_null(),
                }
            }
        }
    };
}

/// A value of type `text` in the server's own bytes, as they are.
#[derive(Clone, Debug)]
pub struct Verbatim(pub ServerText);

impl IntoDatum for Verbatim {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: copies a C string.
        Some(unsafe { pg_sys::cstring_to_text(self.0.as_c_str().as_ptr()) }.into())
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

impl FromDatum for Verbatim {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Verbatim> {
        // SAFETY: a datum of type text, as the caller promises.
        (!is_null).then(|| unsafe { Verbatim(server_text(datum).unwrap_or_default()) })
    }
}

impl IntoDatum for Document {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

sql_type!(Text, "text");
sql_type!(Verbatim, "text");
sql_type!(Name, "name");

/// A `jsonb` value, in the current memory context.
pub struct Document(pg_sys::Datum);

impl Document {
    /// That of an argument.
    pub fn of_argument(argument: &AnyElement) -> Document {
        // SAFETY: the SQL declaration gives the argument the type jsonb, whose values are of variable length.
        let value = unsafe { pg_sys::pg_detoast_datum(argument.datum().cast_mut_ptr()) };
        Document(value.into())
    }

    /// The document that the server reads in a text.
    ///
    /// # Errors
    /// Raises 22P02 and what else the server says of a text that is none.
    pub fn read(text: &ServerText) -> Option<Document> {
        let text = text.as_c_str().as_ptr();
        // SAFETY: jsonb_in reads a C string.
        unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(text.into())]) }
            .map(Document)
    }

    /// What people read of it, and what is read of it that does not go back to the server.
    ///
    /// It is a text because a document may be nested deeper than the JSON library reads, which then must be an
    /// error of ours.
    pub fn text(&self) -> String {
        // SAFETY: jsonb_out answers with a C string.
        unsafe {
            let text = pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(self.0)]);
            let text = text.and_then(|text| text::kept(text.cast_mut_ptr()));
            text.unwrap_or_default().as_json()
        }
    }

    /// The strings under a key, its value or the elements of its value, as the server has them.
    pub fn strings(&self, key: &str) -> Vec<ServerText> {
        let key = Text(key.to_owned()).into_datum();
        // SAFETY: functions of jsonb, given what they take; their results are such values, or texts.
        unsafe {
            let call = |function, argument| {
                pgrx::direct_function_call_as_datum(function, &[Some(self.0), argument])
            };
            let Some(value) = call(pg_sys::jsonb_object_field, key) else {
                return vec![];
            };
            let jsonb: *const pg_sys::Jsonb = value.cast_mut_ptr::<pg_sys::Jsonb>();
            let header = (*jsonb).root.header;
            if header & pg_sys::JB_FARRAY == 0 || header & pg_sys::JB_FSCALAR != 0 {
                let text = call(pg_sys::jsonb_object_field_text, key);
                return text
                    .and_then(|text| server_text(text))
                    .into_iter()
                    .collect();
            }
            let element = |i: i32| {
                wait::answer_interrupts();
                let text = pgrx::direct_function_call_as_datum(
                    pg_sys::jsonb_array_element_text,
                    &[Some(value), Some(i.into())],
                );
                text.and_then(|text| server_text(text))
            };
            let count = header & pg_sys::JB_CMASK;
            (0..count as i32).filter_map(element).collect()
        }
    }
}

/// # Safety
/// A datum of type `text`.
unsafe fn server_text(datum: pg_sys::Datum) -> Option<ServerText> {
    // SAFETY: as promised; the copy is a C string in the current memory context.
    unsafe { text::kept(pg_sys::text_to_cstring(datum.cast_mut_ptr())) }
}

/// A `text` argument as it is.
pub fn text(argument: &AnyElement) -> ServerText {
    // SAFETY: the SQL declaration gives the argument the type text.
    unsafe { server_text(argument.datum()) }.unwrap_or_default()
}

/// A `name` argument as it is.
pub fn name(argument: &AnyElement) -> ServerText {
    // SAFETY: the SQL declaration gives the argument the type name, which ends with a zero byte.
    unsafe {
        let name: *const pg_sys::NameData = argument.datum().cast_mut_ptr::<pg_sys::NameData>();
        text::kept((*name).data.as_ptr()).unwrap_or_default()
    }
}

/// A point in time, for SQL.
pub fn timestamp(stamp: Timestamp) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(stamp.0).ok()
}

/// A length of time, for SQL.
pub fn interval(length: Duration) -> Option<Interval> {
    i64::try_from(length.as_micros())
        .ok()
        .map(Interval::from_micros)
}

/// An address, for SQL.
pub fn inet(address: String) -> Inet {
    Inet(address)
}
