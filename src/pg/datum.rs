//! Values on their way in and out of SQL that pgrx has no type for.

use crate::session::Timestamp;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::{AnyElement, Datum, Inet, Interval, TimestampWithTimeZone};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;
use std::ffi::CStr;
use std::time::Duration;

/// A result of type `name`.
#[derive(Clone, Debug)]
pub struct Name(pub String);

impl IntoDatum for Name {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        const SIZE: usize = pg_sys::NAMEDATALEN as usize;
        let mut end = self.0.len().min(SIZE - 1);
        while !self.0.is_char_boundary(end) {
            end -= 1;
        }
        // SAFETY: a `name` is NAMEDATALEN bytes, zero from the end of the text on.
        unsafe {
            let name: *mut u8 = pg_sys::palloc0(SIZE).cast();
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), name, end);
            Some(pg_sys::Datum::from(name))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::NAMEOID
    }
}

// SAFETY: the datum that `into_datum` makes is a `name`.
unsafe impl SqlTranslatable for Name {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Name);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("name"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("name")));
}

// SAFETY: as for any type that makes its own datum.
unsafe impl BoxRet for Name {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: the datum is of the declared type.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

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
        text.map(|t| {
            CStr::from_ptr(t.cast_mut_ptr())
                .to_string_lossy()
                .into_owned()
        })
        .unwrap_or_default()
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
