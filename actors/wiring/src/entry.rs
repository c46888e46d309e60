//! Commands as the bytes of log entries.

use jaco_model::command::{Command, Envelope};
use jaco_model::{Identity, RequestId, WallMs};
use jaco_wire::{EntryHeader, decode_entry, encode_entry};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The body of an entry; the rest of the envelope is its header.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    os_user: Option<Cow<'a, str>>,
    command: Cow<'a, Command>,
}

/// The bytes of an envelope.
///
/// # Errors
/// When the command does not serialise, which no command of ours does.
pub fn encode(envelope: &Envelope) -> Result<Vec<u8>, jaco_wire::Error> {
    let header = EntryHeader {
        request_id: envelope.request_id.0.to_be_bytes(),
        at_ms: envelope.at.0,
        identity: envelope.identity.to_string(),
    };
    let body = Body {
        os_user: envelope.os_user.as_deref().map(Cow::Borrowed),
        command: Cow::Borrowed(&envelope.command),
    };
    encode_entry(&header, &body)
}

/// The envelope in the bytes of an entry.
///
/// # Errors
/// For bytes of another format or version.
pub fn decode(bytes: &[u8]) -> Result<Envelope, jaco_wire::Error> {
    let (header, body): (EntryHeader, Body<'_>) = decode_entry(bytes)?;
    Ok(Envelope {
        request_id: RequestId(u128::from_be_bytes(header.request_id)),
        at: WallMs(header.at_ms),
        identity: Identity::new(header.identity),
        os_user: body.os_user.map(Cow::into_owned),
        command: body.command.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::DeploymentName;

    #[test]
    fn an_envelope_survives_a_round_trip() {
        let envelope = Envelope {
            request_id: RequestId(7),
            at: WallMs(1_795_424_959_999),
            identity: Identity::from("local"),
            os_user: Some("1000 (anna)".to_owned()),
            command: Command::Delete { deployment: DeploymentName::from("shop"), volumes: true },
        };
        assert_eq!(decode(&encode(&envelope).unwrap()).unwrap(), envelope);
    }
}
