//! What is done about a path that carries nothing.
//!
//! | since | repair |
//! |---|---|
//! | 5 s | the next endpoint, every 5 s; people are told once |
//! | 15 s | the peer is removed and added, again every minute |
//! | 60 s, most peers | the interface is set down and up, at most every 10 minutes |
//!
//! Only while the control path is fine or there is no handshake: where a whole node is down there
//! is nothing to repair.

use crate::plan::{Change, PeerChange, added};
use crate::settings::{
    BOUNCE_AFTER, BOUNCE_EVERY, HANDSHAKE_STALE, RENEW_AFTER, RENEW_EVERY, TURN_AFTER,
};
use crate::track::Track;
use crate::{Notice, PublicKey};
use jaco_kit_core::Mono;
use jaco_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What to do now.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    pub(crate) changes: Vec<Change>,
    pub(crate) notices: Vec<Notice>,
    /// Whether most paths are broken although the control path is fine.
    pub(crate) is_impaired: bool,
    /// The interface is set down and up.
    pub(crate) bounces: bool,
}

/// Judges all paths.
pub(crate) fn repairs(
    now: Mono,
    tracks: &mut BTreeMap<PublicKey, Track>,
    suspected: &BTreeSet<NodeId>,
    bounced_at: Option<Mono>,
) -> Repairs {
    let mut repairs = Repairs::default();
    let (mut broken, of) = (0, tracks.len());
    for (key, track) in tracks.iter_mut() {
        let Some(bad_for) = track.bad_for(now) else { continue };
        let is_reachable = !suspected.contains(&track.peer.node);
        if is_reachable && bad_for > BOUNCE_AFTER {
            broken += 1;
        }
        if bad_for > TURN_AFTER {
            repair(now, *key, track, is_reachable, &mut repairs);
        }
    }
    repairs.is_impaired = broken * 2 > of;
    if repairs.is_impaired && bounced_at.is_none_or(|at| now.since(at) >= BOUNCE_EVERY) {
        repairs.bounces = true;
        repairs.changes.extend([Change::SetUp(false), Change::SetUp(true)]);
    }
    if repairs.is_impaired {
        repairs.notices.push(Notice::DataplaneImpaired { broken, of });
    }
    repairs
}

/// The repairs of one path that has been broken for some time.
fn repair(now: Mono, key: PublicKey, track: &mut Track, is_reachable: bool, to: &mut Repairs) {
    let is_silent = track.handshake_age.is_none_or(|age| age > HANDSHAKE_STALE);
    if is_reachable && !track.is_told {
        track.is_told = true;
        let condition = track.condition(now).as_str();
        to.notices.push(Notice::PathDegraded { node: track.peer.node.clone(), condition });
    }
    let bad_for = track.bad_for(now).unwrap_or_default();
    let is_renewal_due = track.renewed_at.is_none_or(|at| now.since(at) >= RENEW_EVERY);
    if is_reachable && bad_for > RENEW_AFTER && is_renewal_due {
        track.renewed_at = Some(now);
        let mut peer = track.peer.clone();
        if let Some(endpoint) = next_endpoint(now, track) {
            peer.endpoints = vec![endpoint];
        }
        to.changes.push(Change::Peer(PeerChange::Remove { key }));
        to.changes.push(Change::Peer(added(key, &peer)));
    } else if (is_reachable || is_silent)
        && now.since(track.turned_at) >= TURN_AFTER
        && let Some(endpoint) = next_endpoint(now, track)
    {
        to.changes.push(Change::Peer(PeerChange::Aim { key, endpoint }));
    }
}

fn next_endpoint(now: Mono, track: &mut Track) -> Option<SocketAddr> {
    let endpoints = &track.peer.endpoints;
    track.turned_at = now;
    track.turn = (track.turn + 1).checked_rem(endpoints.len())?;
    endpoints.get(track.turn).copied()
}
