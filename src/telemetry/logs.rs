//! Logs on standard error: one line an event, JSON or text. Standard output belongs to what commands print.
//!
//! A message is a sentence that stands alone, with its values as fields; logged once, where it is handled. ERROR: someone
//! must act. WARN: recovered. Plates, VINs, positions and payloads never appear.

use tracing_subscriber::{EnvFilter, Layer, filter::ParseError, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, Service};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("service.log is not a log filter such as `info` or `dieselwatch=debug,info`")]
    Filter(#[source] ParseError),
    #[error("another logger is installed")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging as `[service]` says. Call once, first.
///
/// # Errors
/// The filter cannot be read, or a logger is there already.
pub fn init(service: &Service) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&service.log).map_err(LogError::Filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match service.log_format {
        // Fields beside the message, not nested under it: `jq .message` and `jq .error` both work.
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(LogError::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let service = Service {
            instance: String::new(),
            log: "dieselwatch=loud".to_owned(),
            log_format: LogFormat::Text,
            shutdown_seconds: 1,
        };
        assert!(matches!(init(&service), Err(LogError::Filter(_))));
    }
}
