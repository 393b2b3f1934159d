//! Waiting for what a test or the demo expects.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `condition` is `Ok`; its error says what is still missing.
///
/// # Errors
/// The last error of the condition, after `timeout`.
pub fn wait_for<T>(what: &str, timeout: Duration, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + timeout;
    loop {
        match condition() {
            Ok(done) => return Ok(done),
            Err(missing) if Instant::now() >= end => {
                return Err(anyhow!("{what}: not within {timeout:?}: {missing:#}"));
            }
            Err(_) => sleep(INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn it_says_what_is_missing() {
        let mut tries = 0;
        let counted = wait_for("three tries", Duration::from_secs(5), || {
            tries += 1;
            if tries < 3 { bail!("{tries}") } else { Ok(tries) }
        });
        assert_eq!(counted.unwrap(), 3);
        let never = wait_for::<()>("a miracle", Duration::ZERO, || bail!("none so far"));
        assert_eq!(never.unwrap_err().to_string(), "a miracle: not within 0ns: none so far");
    }
}
