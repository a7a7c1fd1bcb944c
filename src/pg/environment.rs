//! The environment that the server was started in.

/// Sees that no error of ours carries a backtrace in its DETAIL, whatever the postmaster was started with. To be
/// called when the library is loaded, before anything can go wrong: the choice is made at the first error, for good.
pub fn without_backtraces() {
    for name in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        // SAFETY: a server process has one thread.
        unsafe { std::env::remove_var(name) };
    }
}
