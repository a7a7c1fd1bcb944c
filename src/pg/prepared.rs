//! Prepared transactions: which one a lock belongs to, and their names.

use super::compat::{self, unbound};
use super::datum::Verbatim;
use super::text;
use crate::server_text::ServerText;
use crate::session::VirtualTransaction;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// The prepared transaction that holds locks under that virtual transaction id; none if there is
/// none (any more). Reads shared memory only.
///
/// One prepared since the server started keeps its session's virtual transaction; one prepared
/// before goes by the invalid slot and its transaction id (`MarkAsPreparingGuts` in `twophase.c`).
pub(super) fn xid_of(transaction: VirtualTransaction) -> Option<u32> {
    if transaction.local == 0 {
        return None;
    }
    if transaction.slot == compat::INVALID_SLOT {
        return Some(transaction.local);
    }
    let mut have_more = false;
    // SAFETY: the id is valid; it searches the array of prepared transactions under its lock.
    let xid = unsafe {
        unbound::two_phase_get_xid_by_virtual_xid(compat::to_vxid(transaction), &mut have_more)
    };
    let xid = xid.into_inner();
    (xid != pg_sys::InvalidTransactionId.into_inner()).then_some(xid)
}

/// A prepared transaction as `pg_prepared_xacts` shows it.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub xid: u32,
    pub gid: ServerText,
    pub owner: u32,
    pub prepared: i64,
}

/// All prepared transactions of the cluster.
pub fn all() -> Result<Vec<Prepared>, spi::Error> {
    Spi::connect(|client| {
        let query = "SELECT p.transaction, p.gid, p.ownerid, p.prepared \
                     FROM pg_catalog.pg_prepared_xact() p";
        let mut found = vec![];
        for row in client.select(query, None, &[])? {
            let xid = row.get::<pg_sys::TransactionId>(1)?;
            // A name may come from a database of another encoding.
            let (gid, owner) = (row.get::<Verbatim>(2)?, row.get::<pg_sys::Oid>(3)?);
            let prepared = row.get::<TimestampWithTimeZone>(4)?;
            if let (Some(xid), Some(gid), Some(owner), Some(prepared)) = (xid, gid, owner, prepared)
            {
                found.push(Prepared {
                    xid: xid.into_inner(),
                    gid: text::mended(gid.0),
                    owner: owner.to_u32(),
                    prepared: prepared.into_inner(),
                });
            }
        }
        Ok(found)
    })
}
