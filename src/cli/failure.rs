//! How a command fails: what is printed, and the exit code.

use super::Format;
use super::output;
use jaco_model::view::ErrorBody;
use jaco_model::{ErrorCode, Fault};
use std::process::ExitCode;

/// What every verb returns: the exit code of a command that did its work.
pub(crate) type Outcome = Result<u8, Failure>;

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A fault, ours or the server's.
    Fault(Box<ErrorBody>),
    /// Everything was said already; only the exit code is left.
    Silent(u8),
}

impl Failure {
    /// Wrong use of the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Fault::new(ErrorCode::Usage, message).into()
    }

    /// A fault of the command line's own making that fits no other code.
    pub(crate) fn internal(message: impl Into<String>) -> Failure {
        Fault::new(ErrorCode::Internal, message).into()
    }

    /// Several faults of a manifest. The list is not empty.
    pub(crate) fn manifest(faults: Vec<Fault>) -> Failure {
        let Some(error) = faults.first().cloned() else { return Failure::Silent(1) };
        Failure::Fault(Box::new(ErrorBody { error, errors: faults }))
    }

    /// The fault, unless everything was said already.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        match self {
            Failure::Fault(body) => Some(&body.error),
            Failure::Silent(_) => None,
        }
    }

    /// Prints the failure on standard error and gives the exit code.
    pub(crate) fn report(self, format: Format) -> ExitCode {
        let body = match self {
            Failure::Silent(code) => return ExitCode::from(code),
            Failure::Fault(body) => body,
        };
        let text = match format {
            Format::Json => serde_json::to_string(&body).unwrap_or_default(),
            Format::Yaml => output::yaml(&*body).trim_end().to_owned(),
            Format::Table => text(&body),
        };
        output::complain(&text);
        ExitCode::from(body.error.code.exit_code())
    }
}

impl From<Fault> for Failure {
    fn from(error: Fault) -> Failure {
        Failure::Fault(Box::new(ErrorBody { error, errors: Vec::new() }))
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Failure {
        Failure::Fault(Box::new(body))
    }
}

/// `Error: <code>: <message>` and the details that the message does not contain already.
fn text(body: &ErrorBody) -> String {
    let faults =
        if body.errors.is_empty() { std::slice::from_ref(&body.error) } else { &body.errors };
    let texts: Vec<String> = faults.iter().map(fault_text).collect();
    texts.join("\n")
}

fn fault_text(fault: &Fault) -> String {
    let mut text = format!("Error: {fault}");
    for (key, value) in &fault.details {
        let positional = matches!(key.as_str(), "line" | "column" | "field");
        if !positional && !value.is_empty() && !fault.message.contains(value.as_str()) {
            text.push_str(&format!("\n  {key}: {value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_that_the_message_contains_are_not_repeated() {
        let fault =
            Fault::new(ErrorCode::DeploymentNotFound, "there is no deployment named \"shp\"")
                .with("deployment", "shp")
                .with("suggestion", "shop");
        assert_eq!(
            fault_text(&fault),
            "Error: deployment_not_found: there is no deployment named \"shp\"\n  suggestion: shop"
        );
    }
}
