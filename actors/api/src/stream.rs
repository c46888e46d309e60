//! Answers that go on: one JSON object per line.

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use std::convert::Infallible;

/// An answer of NDJSON lines. Values that do not serialise are left out (ours always do).
pub(crate) fn ndjson<T, S>(values: S) -> HttpResponse
where
    T: Serialize + 'static,
    S: Stream<Item = T> + 'static,
{
    let lines = values.filter_map(|value| async move {
        let mut line = serde_json::to_vec(&value).ok()?;
        line.push(b'\n');
        Some(Ok::<_, Infallible>(Bytes::from(line)))
    });
    HttpResponse::Ok().content_type("application/x-ndjson").streaming(lines)
}
