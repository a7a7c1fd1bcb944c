//! Whether the values of one type are those of another as they are stored: what the server's planner finds
//! when it simplifies a conversion (`eval_const_expressions` in `clauses.c`), without planning any.

use crate::pg::columns::Column;
use crate::pg::types;
use pgrx::pg_sys;

/// The modifier of a type without a length, a precision or the like.
const NO_MODIFIER: i32 = -1;

/// What other modifiers have added to them, in types whose lengths once counted that of the header.
const HEADER: i32 = pg_sys::VARHDRSZ as i32;

/// Whether a column's values stay as they are in that type with that modifier (`coerce_to_target_type` in
/// `parse_coerce.c`).
pub fn is_none(column: &Column, type_id: u32, modifier: i32) -> bool {
    let from = column.type_id.to_u32();
    if from == type_id {
        return fits(type_id, column.modifier, modifier);
    }
    let Some(kept) = pathway(from, type_id) else {
        return false;
    };
    let (base, of_base) = base_type(type_id);
    if base == type_id {
        return fits(type_id, NO_MODIFIER, modifier);
    }
    // A domain takes a value of another name as it comes, with its length.
    let now = match kept {
        Kept::Relabelled => column.modifier,
        Kept::Computed => NO_MODIFIER,
    };
    fits(base, now, of_base) && !types::has_constraints(type_id)
}

/// How values come from one type to another that has the same ones.
enum Kept {
    Relabelled,
    /// By a function that would change none.
    Computed,
}

/// None where values have to be converted, or cannot be.
fn pathway(from: u32, to: u32) -> Option<Kept> {
    use pg_sys::CoercionPathType::{COERCION_PATH_FUNC, COERCION_PATH_RELABELTYPE};
    let mut function = pg_sys::InvalidOid;
    // SAFETY: catalog look-ups.
    let path = unsafe {
        pg_sys::find_coercion_pathway(
            pg_sys::Oid::from_u32(to),
            pg_sys::Oid::from_u32(from),
            pg_sys::CoercionContext::COERCION_ASSIGNMENT,
            &mut function,
        )
    };
    match (path, function.to_u32()) {
        (COERCION_PATH_RELABELTYPE, _) => Some(Kept::Relabelled),
        (COERCION_PATH_FUNC, pg_sys::F_TIMESTAMPTZ_TIMESTAMP | pg_sys::F_TIMESTAMP_TIMESTAMPTZ) => {
            // SAFETY: reads the session's time zone.
            let converts = unsafe { pg_sys::TimestampTimestampTzRequiresRewrite() };
            (!converts).then_some(Kept::Computed)
        }
        _ => None,
    }
}

/// What a domain is made of in the end, and that one's modifier; any other type is itself.
fn base_type(type_id: u32) -> (u32, i32) {
    let mut modifier = NO_MODIFIER;
    // SAFETY: catalog look-ups, of a type that exists.
    let base =
        unsafe { pg_sys::getBaseTypeAndTypmod(pg_sys::Oid::from_u32(type_id), &mut modifier) };
    (base.to_u32(), modifier)
}

/// Whether values of a type with one modifier are as they are with another (`coerce_type_typmod` in
/// `parse_coerce.c`, and the support functions of what it calls).
fn fits(type_id: u32, old: i32, new: i32) -> bool {
    use pg_sys::CoercionPathType::{COERCION_PATH_FUNC, COERCION_PATH_NONE};
    if new == old || new < 0 {
        return true;
    }
    let mut function = pg_sys::InvalidOid;
    // SAFETY: catalog look-ups.
    let path = unsafe {
        pg_sys::find_typmod_coercion_function(pg_sys::Oid::from_u32(type_id), &mut function)
    };
    match (path, function.to_u32()) {
        (COERCION_PATH_NONE, _) => true,
        (COERCION_PATH_FUNC, pg_sys::F_VARCHAR_VARCHAR_INT4_BOOL) => old >= 0 && old <= new,
        (COERCION_PATH_FUNC, pg_sys::F_VARBIT) => new == 0 || (old > 0 && old <= new),
        (COERCION_PATH_FUNC, pg_sys::F_NUMERIC_NUMERIC_INT4) => numeric_fits(old, new),
        (COERCION_PATH_FUNC, pg_sys::F_INTERVAL_INTERVAL_INT4) => interval_fits(old, new),
        (
            COERCION_PATH_FUNC,
            pg_sys::F_TIME_TIME_INT4
            | pg_sys::F_TIMETZ_TIMETZ_INT4
            | pg_sys::F_TIMESTAMP_TIMESTAMP_INT4
            | pg_sys::F_TIMESTAMPTZ_TIMESTAMPTZ_INT4,
        ) => new == FULL_PRECISION || (old >= 0 && old <= new),
        _ => false,
    }
}

/// Of seconds: `MAX_TIMESTAMP_PRECISION`, `MAX_TIME_PRECISION` and `MAX_INTERVAL_PRECISION`.
const FULL_PRECISION: i32 = 6;

/// `numeric_support` in `numeric.c`
fn numeric_fits(old: i32, new: i32) -> bool {
    /// Of digits after the point.
    const SCALE: i32 = 0x7ff;
    let parts = |modifier: i32| {
        let parts = modifier.checked_sub(HEADER).filter(|parts| *parts >= 0)?;
        Some(((parts >> 16) & 0xffff, parts & SCALE))
    };
    match (parts(old), parts(new)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some((digits, scale)), Some((new_digits, new_scale))) => {
            scale == new_scale && digits <= new_digits
        }
    }
}

/// `interval_support` in `timestamp.c`
fn interval_fits(old: i32, new: i32) -> bool {
    const UNLIMITED: i32 = pg_sys::INTERVAL_FULL_PRECISION as i32;
    let precision = |modifier: i32| match modifier {
        0.. => modifier & pg_sys::INTERVAL_PRECISION_MASK as i32,
        _ => UNLIMITED,
    };
    let (old_field, new_field) = (least_field(old), least_field(new));
    new_field <= old_field
        && (old_field > 0 || precision(new) >= FULL_PRECISION || precision(new) >= precision(old))
}

/// The smallest unit that an interval of that modifier has, 0 for seconds (`intervaltypmodleastfield`).
fn least_field(modifier: i32) -> usize {
    /// By the bits that they are in a modifier (`datetime.h`): seconds, minutes, hours, days, months, years.
    const FIELDS: [i32; 6] = [12, 11, 10, 3, 1, 2];
    if modifier < 0 {
        return 0;
    }
    let has = |bit: &i32| (modifier >> 16) & (1 << bit) != 0;
    FIELDS.iter().position(has).unwrap_or(0)
}
