//! Values on their way in and out of SQL that pgrx has no type for.

use super::text;
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

sql_type!(Text, "text");
sql_type!(Name, "name");

/// The text of a `jsonb` argument.
///
/// It is taken as text because a document may be nested deeper than the JSON library reads, which
/// then must be an error of ours.
pub fn jsonb_text(argument: &AnyElement) -> String {
    // SAFETY: the SQL declaration gives the argument the type jsonb; jsonb_out detoasts it and
    // answers with a C string.
    unsafe {
        let text =
            pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(argument.datum())]);
        text.and_then(|t| text::from_server(t.cast_mut_ptr()))
            .unwrap_or_default()
    }
}

/// The text of a `text` argument.
pub fn text(argument: &AnyElement) -> String {
    // SAFETY: the SQL declaration gives the argument the type text; the copy is a C string in the
    // current memory context.
    unsafe {
        let text = pg_sys::text_to_cstring(argument.datum().cast_mut_ptr());
        text::from_server(text).unwrap_or_default()
    }
}

/// The text of a `name` argument.
pub fn name(argument: &AnyElement) -> String {
    // SAFETY: the SQL declaration gives the argument the type name, which ends with a zero byte.
    unsafe {
        let name: *const pg_sys::NameData = argument.datum().cast_mut_ptr::<pg_sys::NameData>();
        text::from_server((*name).data.as_ptr()).unwrap_or_default()
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
