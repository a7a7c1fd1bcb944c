//! Intervals as PostgreSQL reads them.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CString;
use std::time::Duration;

/// The length that PostgreSQL reads the text as; a month counts 30 days, as it does for
/// `justify_hours` and `EXTRACT (EPOCH …)`.
///
/// # Errors
/// Why it is none, or none that a wait can have: the caller must then raise an error, because the
/// server's own has been caught without a subtransaction.
pub fn read(text: &str) -> Result<Duration, String> {
    let text = CString::new(text).map_err(|_| "it contains a null byte".to_owned())?;
    let interval = PgTryBuilder::new(|| {
        // SAFETY: interval_in takes a C string, a type OID that it ignores, and a type modifier.
        let datum = unsafe {
            pgrx::direct_function_call_as_datum(
                pg_sys::interval_in,
                &[
                    Some(text.as_ptr().into()),
                    Some(pg_sys::Oid::INVALID.into()),
                    Some((-1i32).into()),
                ],
            )
        };
        // SAFETY: interval_in answers with an interval.
        let interval = datum.map(|d| unsafe { *d.cast_mut_ptr::<pg_sys::Interval>() });
        interval.ok_or_else(|| "it is null".to_owned())
    })
    // Not the server's words: they repeat the text, however long it is.
    .catch_when(PgSqlErrorCode::ERRCODE_INVALID_DATETIME_FORMAT, |_| {
        Err("PostgreSQL does not read it as an interval".to_owned())
    })
    .catch_when(PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW, |_| {
        Err("it is out of range".to_owned())
    })
    .catch_when(PgSqlErrorCode::ERRCODE_INTERVAL_FIELD_OVERFLOW, |_| {
        Err("it is out of range".to_owned())
    })
    .execute()?;
    const MICROSECONDS_A_DAY: i128 = 86_400_000_000;
    let days = i128::from(interval.month) * 30 + i128::from(interval.day);
    let microseconds = days * MICROSECONDS_A_DAY + i128::from(interval.time);
    if microseconds < 0 {
        return Err("it is negative".into());
    }
    u64::try_from(microseconds)
        .map(Duration::from_micros)
        .map_err(|_| "it is too long".into())
}
