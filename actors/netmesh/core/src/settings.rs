//! What a node's operator may set, and the times of the specification.

use jaco_model::NodeId;
use std::time::Duration;

/// Given once, at the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// UDP port of the tunnel, 51820 unless set.
    pub port: u16,
    /// Largest packet of the tunnel in bytes, when the operator fixed it.
    pub mtu: Option<u16>,
    /// For the spread of waits.
    pub seed: u64,
}

/// Smallest tunnel packet, in bytes.
pub(crate) const MTU_FLOOR: u16 = 1280;
/// Largest tunnel packet unless the operator says otherwise, in bytes.
pub(crate) const MTU_CAP: u16 = 1420;
/// Bytes that the tunnel adds to a packet over IPv6.
pub(crate) const OVERHEAD: u32 = 80;
/// Bytes by which full-size packets shrink when they do not arrive.
pub(crate) const MTU_STEP: u16 = 20;
/// Full-size probes in a row that must be lost before packets shrink.
pub(crate) const FULL_TRIES: u8 = 3;
/// Between two probes.
pub(crate) const PROBE_EVERY: Duration = Duration::from_millis(500);
/// Between two full-size probes that arrive.
pub(crate) const FULL_EVERY: Duration = Duration::from_secs(30);
/// After this long without word a full-size probe is lost.
pub(crate) const FULL_WAIT: Duration = Duration::from_secs(2);
/// After this long without word a direction counts as broken.
pub(crate) const QUIET: Duration = Duration::from_millis(2_500);
/// Numbers that may be on their way in both directions.
pub(crate) const IN_FLIGHT: u64 = 20;
/// After this long an endpoint is given up for the next, and again as long after.
pub(crate) const TURN_AFTER: Duration = Duration::from_secs(5);
/// After this long a peer is removed and added again.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(15);
/// Between two renewals of one peer.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(60);
/// After this long, towards a majority, the interface is set down and up.
pub(crate) const BOUNCE_AFTER: Duration = Duration::from_secs(60);
/// Between two such times.
pub(crate) const BOUNCE_EVERY: Duration = Duration::from_secs(600);
/// A handshake is repeated every two minutes; older than this it says nothing.
pub(crate) const HANDSHAKE_STALE: Duration = Duration::from_secs(180);
/// Between two looks at what is installed, without a cause.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same while a path carries nothing.
pub(crate) const LOOK_EVERY_UNWELL: Duration = Duration::from_secs(5);
/// Rounds of changes within [`FIGHT`] for one wanted mesh, after which something works against us.
pub(crate) const ROUNDS: u32 = 10;
/// Time over which rounds are counted.
pub(crate) const FIGHT: Duration = Duration::from_secs(10);
/// First and longest wait after a failure.
pub(crate) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
