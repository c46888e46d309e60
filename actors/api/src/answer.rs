//! Faults as HTTP answers.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use jaco_model::view::ErrorBody;
use jaco_model::{ErrorCode, Fault};
use std::fmt;

/// A refused call: the first fault, and all of them when a manifest has several.
#[derive(Debug)]
pub(crate) struct Refusal {
    body: ErrorBody,
}

/// What every handler returns.
pub(crate) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    /// A refusal of a manifest. `faults` is not empty.
    pub(crate) fn of_manifest(faults: Vec<Fault>) -> Refusal {
        let unclear = || Fault::new(ErrorCode::Internal, "refused without a reason");
        let error = faults.first().cloned().unwrap_or_else(unclear);
        let errors = if faults.len() > 1 { faults } else { Vec::new() };
        Refusal { body: ErrorBody { error, errors } }
    }
}

impl From<Fault> for Refusal {
    fn from(error: Fault) -> Refusal {
        Refusal { body: ErrorBody { error, errors: Vec::new() } }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.error.fmt(f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        let status = self.body.error.code.http_status();
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.body.error.detail("retry_after") {
            answer.insert_header(("Retry-After", seconds));
        }
        answer.json(&self.body)
    }
}

/// A body that is not the JSON the call wants.
pub(crate) fn bad_body(error: &dyn fmt::Display) -> Refusal {
    Fault::new(ErrorCode::ParseFailed, format!("the request body is not valid: {error}")).into()
}
