//! The first frame of each side: same cluster, same epoch, and the raft id of the certificate.

use jaco_wire::peer::{Frame, Hello, PEER_PROTOCOL, Purpose, Refusal};

use crate::transport::config::Config;

/// The hello of this member.
pub(super) fn mine(config: &Config, purpose: Purpose) -> Hello {
    Hello {
        protocol: PEER_PROTOCOL,
        cluster_id: config.cluster_id.to_string(),
        epoch: config.epoch,
        raft_id: config.raft_id,
        purpose: purpose.number(),
    }
}

/// Checks the hello of a member with this `raft_id`.
pub(super) fn check(config: &Config, hello: &Hello, raft_id: u64) -> Result<Purpose, Refusal> {
    if hello.protocol != PEER_PROTOCOL {
        return Err(Refusal::Protocol);
    }
    if hello.cluster_id != config.cluster_id.as_str() {
        return Err(Refusal::Cluster);
    }
    if hello.epoch != config.epoch {
        return Err(Refusal::Epoch);
    }
    let purpose = Purpose::from_number(hello.purpose).ok_or(Refusal::Malformed)?;
    // A call is the node's, whatever its log was; so a member that lost its log can say so.
    if hello.raft_id != raft_id && purpose != Purpose::Calls {
        return Err(Refusal::RaftId);
    }
    Ok(purpose)
}

/// The frame that tells why a connection is not wanted.
pub(super) fn refusal(config: &Config, why: Refusal) -> Frame {
    Frame::Refused { reason: why.number(), epoch: config.epoch, protocol: PEER_PROTOCOL }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::config::Limits;

    #[test]
    fn each_difference_has_its_reason() {
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            cluster_id: "c".into(),
            epoch: 3,
            me: "n".into(),
            raft_id: 7,
            limits: Limits::default(),
        };
        let call = mine(&config, Purpose::Calls);
        assert_eq!(check(&config, &call, 7), Ok(Purpose::Calls));
        assert_eq!(check(&config, &call, 8), Ok(Purpose::Calls));
        let good = mine(&config, Purpose::Raft);
        assert_eq!(check(&config, &good, 7), Ok(Purpose::Raft));
        for (change, why) in [
            (Hello { protocol: 2, ..good.clone() }, Refusal::Protocol),
            (Hello { cluster_id: "d".into(), ..good.clone() }, Refusal::Cluster),
            (Hello { epoch: 4, ..good.clone() }, Refusal::Epoch),
            (Hello { epoch: 2, ..good.clone() }, Refusal::Epoch),
            (Hello { raft_id: 8, ..good.clone() }, Refusal::RaftId),
            (Hello { purpose: 9, ..good }, Refusal::Malformed),
        ] {
            assert_eq!(check(&config, &change, 7), Err(why));
        }
    }
}
