//! Answers that go on until the server ends them or the user does.

use super::client::{Call, Client};
use super::{Failure, Outcome};
use jaco_model::ErrorCode;
use serde::de::DeserializeOwned;

/// Gives every item of an answer to `take`. Ctrl-C ends it with its own exit code.
pub(crate) fn each<T: DeserializeOwned>(
    client: &Client,
    call: &Call,
    mut take: impl FnMut(T),
) -> Outcome {
    let read = async {
        let mut lines = client.lines(call).await?;
        while let Some(item) = lines.next::<T>().await? {
            take(item);
        }
        Ok(0)
    };
    client.block_on(async {
        tokio::select! {
            end = read => end,
            _ = tokio::signal::ctrl_c() => Err(Failure::Silent(ErrorCode::Canceled.exit_code())),
        }
    })
}
