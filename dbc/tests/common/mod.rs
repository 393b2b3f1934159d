//! What needs more than a checkout, and says so loudly where it is missing.

use std::ffi::OsString;
use std::io::Write;

/// The value of an environment variable that enables a test; if it is unset, a line that summaries count.
pub fn enabled_by(variable: &str, case: &str) -> Option<OsString> {
    let value = std::env::var_os(variable);
    if value.is_none() {
        // Not `println!`: the test harness would swallow it.
        writeln!(std::io::stdout(), "NOT RUN dbc {case}: set {variable}").expect("stdout is open");
    }
    value
}
