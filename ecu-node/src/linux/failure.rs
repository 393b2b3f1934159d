//! Why a command failed, and its exit status: 1 a check failed, 2 wrong usage or bad input, 3 something is unreachable.

use std::fmt;
use std::process::ExitCode;

/// A failed command.
#[derive(Debug)]
pub enum Failure {
    /// A check failed, or what was running could not go on.
    Failed(anyhow::Error),
    /// What the caller gave is wrong; the text says which file or key, and what to do.
    Usage(anyhow::Error),
    /// A bus, a process or a quorum is not there.
    Unreachable(anyhow::Error),
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(error) | Self::Usage(error) | Self::Unreachable(error)) = self;
        write!(f, "{error:#}")
    }
}

/// Says what kind of failure an error is.
pub trait OrFail<T> {
    /// As [`Failure::Failed`].
    ///
    /// # Errors
    /// The error.
    fn or_failed(self) -> Result<T, Failure>;
    /// As [`Failure::Usage`].
    ///
    /// # Errors
    /// The error.
    fn or_usage(self) -> Result<T, Failure>;
    /// As [`Failure::Unreachable`].
    ///
    /// # Errors
    /// The error.
    fn or_unreachable(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_failed(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Failed(error.into()))
    }

    fn or_usage(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Usage(error.into()))
    }

    fn or_unreachable(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Unreachable(error.into()))
    }
}
