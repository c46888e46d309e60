//! Tickets by which a client takes its TLS session up again, at whichever node it comes to (RFC
//! 8446, 4.6.1). Their keys follow from a secret that all nodes have, and from the time: every 12 h
//! there is another one, and that of the 12 h before is still good. Nothing of it is stored.
//!
//! Sessions of TLS 1.2 get no ticket: it would hold what their own traffic was encrypted with, and
//! the secret outlives it. They are taken up again at the node that remembers them.

use arc_swap::ArcSwapOption;
use jaco_ingress_core::TicketSecret;
use jaco_kit::{Clock, Seeds};
use jaco_kit_core::Wall;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::ProtocolVersion;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Arc;

/// Milliseconds of one key.
const PERIOD: u64 = 12 * 60 * 60 * 1_000;
/// Random bytes of a ticket, each of which has a key of its own.
const SALT: usize = 32;
const HEAD: usize = 8 + SALT;
/// Longer than any of ours; a name has at most 255 bytes.
const LONGEST: usize = 1024;

/// Makes and reads them, as long as there is a secret.
pub(super) struct Tickets {
    secret: ArcSwapOption<TicketSecret>,
    wall: Box<dyn Fn() -> Wall + Send + Sync>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("enabled", &self.enabled()).finish_non_exhaustive()
    }
}

impl Tickets {
    /// Those of a node that has heard of no secret yet.
    pub(super) fn new(clock: Clock) -> Tickets {
        Tickets { secret: ArcSwapOption::empty(), wall: Box::new(move || clock.wall()) }
    }

    /// What new keys follow from.
    pub(super) fn keep(&self, secret: Option<TicketSecret>) {
        self.secret.store(secret.map(Arc::new));
    }

    fn period(&self) -> u64 {
        (self.wall)().0 / PERIOD
    }

    fn key(&self, head: &[u8]) -> Option<LessSafeKey> {
        let secret = self.secret.load();
        let key = blake3::keyed_hash(&secret.as_ref()?.0, head);
        Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_bytes()).ok()?))
    }
}

/// Each key is used once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Whether a session is one of TLS 1.3, by the bytes that rustls makes of it: whether there is a
/// name, its length, itself, and the version. What looks different gets no ticket.
fn is_new(session: &[u8]) -> bool {
    let after = match session {
        [0, rest @ ..] => Some(rest),
        [1, length, rest @ ..] => rest.get(usize::from(*length)..),
        _ => None,
    };
    let version = u16::from(ProtocolVersion::TLSv1_3).to_be_bytes();
    after.is_some_and(|after| after.starts_with(&version))
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.secret.load().is_some()
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(PERIOD / 1_000).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if !is_new(plain) || HEAD + plain.len() + AES_256_GCM.tag_len() > LONGEST {
            return None;
        }
        let salt: [u8; SALT] = Seeds.bytes().ok()?;
        let mut ticket = self.period().to_be_bytes().to_vec();
        ticket.extend_from_slice(&salt);
        let key = self.key(&ticket)?;
        ticket.extend_from_slice(plain);
        let sealed = key.seal_in_place_separate_tag(nonce(), Aad::empty(), &mut ticket[HEAD..]);
        ticket.extend_from_slice(sealed.ok()?.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let (head, sealed) = ticket.split_at_checked(HEAD)?;
        let made = u64::from_be_bytes(*head.first_chunk()?);
        // Clocks of nodes differ a little, so one may be ahead.
        if self.period().abs_diff(made) > 1 {
            return None;
        }
        let key = self.key(head)?;
        let mut plain = sealed.to_vec();
        let length = key.open_in_place(nonce(), Aad::empty(), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const SESSION: &[u8] = b"\x01\x06a.test\x03\x04 and what else there is";

    fn tickets(secret: u8) -> (Tickets, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(1_000 * PERIOD + PERIOD / 2));
        let clock = now.clone();
        let wall = Box::new(move || Wall(clock.load(Ordering::Relaxed)));
        let secret = ArcSwapOption::from_pointee(TicketSecret([secret; 32]));
        (Tickets { secret, wall }, now)
    }

    #[test]
    fn who_has_the_secret_reads_what_another_made() {
        let (one, other, stranger) = (tickets(1).0, tickets(1).0, tickets(2).0);
        let ticket = one.encrypt(SESSION).unwrap();
        assert_eq!(other.decrypt(&ticket).as_deref(), Some(SESSION));
        assert_eq!(stranger.decrypt(&ticket), None);
        assert_ne!(one.encrypt(SESSION).unwrap()[HEAD..], ticket[HEAD..], "no two are alike");
        let shown = format!("{one:?}");
        assert_eq!(shown, "Tickets { enabled: true, .. }");
    }

    #[test]
    fn keys_turn_over_and_the_one_before_is_good_once_more() {
        let (tickets, now) = tickets(1);
        let begin = 1_000 * PERIOD;
        now.store(begin, Ordering::Relaxed);
        let ticket = tickets.encrypt(SESSION).unwrap();
        for (later, is_good) in
            [(0, true), (PERIOD - 1, true), (2 * PERIOD - 1, true), (2 * PERIOD, false)]
        {
            now.store(begin + later, Ordering::Relaxed);
            assert_eq!(tickets.decrypt(&ticket).is_some(), is_good, "{later}");
        }
        let next = tickets.encrypt(SESSION).unwrap();
        assert_ne!(next[..8], ticket[..8]);
    }

    #[test]
    fn what_was_changed_is_none() {
        let (tickets, _) = tickets(1);
        let ticket = tickets.encrypt(SESSION).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "{at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
        }
        assert_eq!(tickets.decrypt(&vec![0; LONGEST + 1]), None);
    }

    #[test]
    fn there_is_none_without_a_secret_and_none_for_old_sessions() {
        let (tickets, _) = tickets(1);
        for session in
            [&b"\x01\x06a.test\x03\x03 old"[..], b"", b"\x00\x03", b"\x02\x03\x04", b"\x01\x09a"]
        {
            assert_eq!(tickets.encrypt(session), None, "{session:?}");
        }
        assert!(tickets.encrypt(b"\x00\x03\x04 no name").is_some());
        assert_eq!(tickets.encrypt(&[SESSION, &[0; LONGEST]].concat()), None);
        let ticket = tickets.encrypt(SESSION).unwrap();
        tickets.keep(None);
        assert!(!tickets.enabled());
        assert_eq!((tickets.encrypt(SESSION), tickets.decrypt(&ticket)), (None, None));
    }
}
