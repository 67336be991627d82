//! What the process says with its exit code, and how an error becomes one.

use std::{io, process::ExitCode};

use crate::{app::InternalError, config::Problems, judge::RuleBookError, store::connect::ConnectError};

/// Exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// The work failed, or part of it was refused.
    Refused = 1,
    /// Wrong usage or configuration; nothing was done. `clap` uses the same.
    Usage = 2,
    /// A mistake of ours, such as a panic.
    Internal = 70,
}

impl Exit {
    /// The exit that a command's own number means; an unknown number is a mistake of ours.
    pub fn from_code(code: u8) -> Self {
        match code {
            0 => Exit::Ok,
            1 => Exit::Refused,
            2 => Exit::Usage,
            _ => Exit::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Arguments that are well-formed and still cannot be meant, for instance a file that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Tells the user what went wrong, in one line with its causes, and which code that is.
pub fn report(result: anyhow::Result<Exit>) -> Exit {
    let error = match result {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        // The reader, such as `head`, has seen enough.
        return Exit::Ok;
    }
    eprintln!("dieselwatch: {error:#}");
    if error.is::<InternalError>() {
        return Exit::Internal;
    }
    // A server that can never be used is named wrongly, or made wrongly, in the configuration.
    let wrong_server = error.downcast_ref::<ConnectError>().is_some_and(ConnectError::lasts);
    let usage = error.is::<Problems>() || error.is::<UsageError>() || error.is::<RuleBookError>() || wrong_server;
    if usage { Exit::Usage } else { Exit::Refused }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_errors = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    let mut kinds = io_errors.map(io::Error::kind);
    kinds.any(|kind| kind == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::store::server::Unfit;

    #[test]
    fn each_kind_of_error_has_its_code() {
        assert_eq!(report(Ok(Exit::Refused)), Exit::Refused);
        assert_eq!(report(Err(UsageError("no such file".into()).into())), Exit::Usage);
        let problems: anyhow::Error = Problems(Vec::new()).into();
        assert_eq!(report(Err(problems.context("read the configuration"))), Exit::Usage);
        let tables: anyhow::Error = RuleBookError(Vec::new()).into();
        assert_eq!(report(Err(tables.context("start the service"))), Exit::Usage);
        assert_eq!(report(Err(anyhow::anyhow!("the database said no"))), Exit::Refused);
        let panic: anyhow::Error = InternalError::for_tests("a writer failed").into();
        assert_eq!(report(Err(panic)), Exit::Internal);
        let server = |unfit: Unfit| Err(anyhow::Error::from(ConnectError::Unfit(unfit)).context("start the service"));
        assert_eq!(report(server(Unfit::Encoding { found: "LATIN1".into() })), Exit::Usage);
        assert_eq!(report(server(Unfit::ReadOnly)), Exit::Refused, "it may pass");
        let pipe = Err(io::Error::from(io::ErrorKind::BrokenPipe)).context("write the output");
        assert_eq!(report(pipe), Exit::Ok);
    }
}
