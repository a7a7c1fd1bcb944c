//! What others see of this session while it waits: its query in `pg_stat_activity`.

use super::{compat, text};
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// The query that `pg_stat_activity` shows, with a remark in front of it; without again when dropped.
#[derive(Default)]
pub struct Shown {
    remark: Option<String>,
}

impl Shown {
    /// Shows that remark, in place of the one before.
    pub fn show(&mut self, remark: String) {
        if self.remark.as_ref() != Some(&remark) {
            report(Some(&remark));
            self.remark = Some(remark);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.remark.is_some() {
            report(None);
        }
    }
}

fn report(remark: Option<&str>) {
    // SAFETY: the client's statement as the server keeps it while it runs, or null; the text is
    // copied into this session's own entry, and the ids that go with a new text are put back.
    unsafe {
        let query = pg_sys::debug_query_string;
        if query.is_null() {
            // A background worker shows a text of its own, which could not be put back.
            return;
        }
        let query = CStr::from_ptr(query);
        let remarked = remark.and_then(|remark| {
            let remark = remark.replace("*/", "* /");
            let mut bytes = text::to_server(&format!("/* {remark} */ "));
            bytes.extend_from_slice(query.to_bytes());
            CString::new(bytes).ok()
        });
        compat::with_query_ids_kept(|| {
            pg_sys::pgstat_report_activity(
                pg_sys::BackendState::STATE_RUNNING,
                remarked.as_deref().unwrap_or(query).as_ptr(),
            );
        });
    }
}
