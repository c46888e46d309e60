//! Frames that cost their sender nothing: how many of them an HTTP/2 client may send.
//!
//! | frames, within 10 s | at most |
//! |---|---|
//! | RST_STREAM | 200 |
//! | SETTINGS and PING | 1,000 |
//! | CONTINUATION | 16 |
//! | WINDOW_UPDATE | 1,000, and 10 for each DATA frame of ours |
//! | empty DATA, PRIORITY and unknown ones | 1,000, and 2 for each of its requests |
//!
//! The 10 s slide. What DATA frames and requests allow is counted with them; DATA frames count for
//! twice as long, as updates for them may come late.

mod window;

use crate::frames::{END_STREAM, FrameHead, Frames, go_away, kind};
use jaco_kit_core::Mono;
use window::{Seen, Window};

const RESETS: u32 = 200;
const CONTROLS: u32 = 1_000;
const CONTINUATIONS: u32 = 16;
const UPDATES: u32 = 1_000;
const UPDATES_PER_DATA: u32 = 10;
const IDLE: u32 = 1_000;
const IDLE_PER_REQUEST: u32 = 2;
/// `ENHANCE_YOUR_CALM` (RFC 9113, 7).
const CALM: u32 = 0xb;

/// What a client sends too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// RST_STREAM.
    Resets,
    /// SETTINGS or PING.
    Controls,
    /// CONTINUATION.
    Continuations,
    /// WINDOW_UPDATE.
    WindowUpdates,
    /// Frames that do nothing.
    IdleFrames,
}

/// Counts the frames of one connection.
#[derive(Debug)]
pub struct FloodGuard {
    from_client: Frames,
    to_client: Frames,
    window: Window,
    /// DATA frames of ours since the client was heard last.
    data: u32,
    last_stream: u32,
}

impl FloodGuard {
    /// Begins with the preface of the client.
    pub fn new(now: Mono) -> FloodGuard {
        FloodGuard {
            from_client: Frames::of_client(),
            to_client: Frames::of_server(),
            window: Window::new(now),
            data: 0,
            last_stream: 0,
        }
    }

    /// Bytes came from the client.
    ///
    /// # Errors
    /// When it is a flood; the client is to be heard no more.
    pub fn read(&mut self, now: Mono, bytes: &[u8]) -> Result<(), Flood> {
        self.window.slide(now);
        self.window.seen.data += std::mem::take(&mut self.data);
        let FloodGuard { from_client, window, last_stream, .. } = self;
        let Window { seen, data_before, .. } = window;
        let mut flood = None;
        from_client.follow(bytes, |head| {
            seen.take(head);
            if head.kind == kind::HEADERS {
                *last_stream = head.stream.max(*last_stream);
            }
            flood = flood.or_else(|| seen.flood(*data_before));
        });
        flood.map_or(Ok(()), Err)
    }

    /// Bytes went to the client.
    pub fn wrote(&mut self, bytes: &[u8]) {
        let data = &mut self.data;
        self.to_client.follow(bytes, |head| *data += u32::from(head.kind == kind::DATA));
    }

    /// The frame that tells the client why it is heard no more; `None` while another frame to it
    /// is not complete.
    pub fn farewell(&self) -> Option<[u8; 17]> {
        self.to_client.is_between().then(|| go_away(self.last_stream, CALM))
    }
}

impl Seen {
    fn take(&mut self, head: FrameHead) {
        match head.kind {
            kind::HEADERS => self.requests += 1,
            kind::RST_STREAM => self.resets += 1,
            kind::SETTINGS | kind::PING => self.controls += 1,
            kind::CONTINUATION => self.continuations += 1,
            kind::WINDOW_UPDATE => self.updates += 1,
            kind::DATA if head.length > 0 || head.flags & END_STREAM != 0 => {}
            // The two kinds between that we know are errors of a client, and end it.
            _ => self.idle += 1,
        }
    }

    fn flood(&self, data_before: u32) -> Option<Flood> {
        let data = self.data.saturating_add(data_before);
        let updates = UPDATES.saturating_add(data.saturating_mul(UPDATES_PER_DATA));
        let idle = IDLE.saturating_add(self.requests.saturating_mul(IDLE_PER_REQUEST));
        [
            (self.resets > RESETS, Flood::Resets),
            (self.controls > CONTROLS, Flood::Controls),
            (self.continuations > CONTINUATIONS, Flood::Continuations),
            (self.updates > updates, Flood::WindowUpdates),
            (self.idle > idle, Flood::IdleFrames),
        ]
        .into_iter()
        .find_map(|(is_over, flood)| is_over.then_some(flood))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const PRIORITY: u8 = 2;
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn begun() -> FloodGuard {
        let mut guard = FloodGuard::new(Mono(0));
        guard.read(Mono(0), PREFACE).expect("a preface is no flood");
        guard
    }

    /// How many of a kind are let through at once.
    fn allowed(guard: &mut FloodGuard, frame: &[u8]) -> (u32, Flood) {
        for count in 0.. {
            if let Err(flood) = guard.read(Mono(1), frame) {
                return (count, flood);
            }
        }
        unreachable!("it would count for ever")
    }

    #[test]
    fn each_kind_has_its_bound() {
        for (frame, wanted) in [
            (frame(kind::RST_STREAM, 0, 1, &[0; 4]), (RESETS, Flood::Resets)),
            (frame(kind::SETTINGS, 0, 0, &[]), (CONTROLS, Flood::Controls)),
            (frame(kind::PING, 1, 0, &[0; 8]), (CONTROLS, Flood::Controls)),
            (frame(kind::CONTINUATION, 0, 1, &[0; 3]), (CONTINUATIONS, Flood::Continuations)),
            (frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), (UPDATES, Flood::WindowUpdates)),
            (frame(kind::DATA, 0, 1, &[]), (IDLE, Flood::IdleFrames)),
            (frame(PRIORITY, 0, 1, &[0; 5]), (IDLE, Flood::IdleFrames)),
            (frame(0x20, 0, 0, &[0; 5]), (IDLE, Flood::IdleFrames)),
        ] {
            assert_eq!(allowed(&mut begun(), &frame), wanted);
        }
    }

    #[test]
    fn who_downloads_may_update_and_who_asks_may_say_more() {
        let mut guard = begun();
        for _ in 0..100 {
            guard.wrote(&frame(kind::DATA, 0, 1, b"hello"));
            guard.read(Mono(1), &frame(kind::HEADERS, 4, 1, &[0x82])).expect("a request");
        }
        let update = frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]);
        assert_eq!(allowed(&mut guard, &update).0, UPDATES + 100 * UPDATES_PER_DATA);
        let mut guard = begun();
        guard.read(Mono(1), &frame(kind::HEADERS, 4, 1, &[0x82])).expect("a request");
        let empty = frame(kind::DATA, 0, 1, &[]);
        assert_eq!(allowed(&mut guard, &empty).0, IDLE + IDLE_PER_REQUEST);
    }

    #[test]
    fn bodies_are_no_flood() {
        let mut guard = begun();
        let (some, last) = (frame(kind::DATA, 0, 1, b"x"), frame(kind::DATA, END_STREAM, 1, &[]));
        for _ in 0..10_000 {
            assert_eq!(guard.read(Mono(1), &some).and(guard.read(Mono(1), &last)), Ok(()));
        }
    }

    #[test]
    fn the_farewell_names_the_last_request_and_waits_for_a_frame_to_end() {
        let mut guard = begun();
        guard.read(Mono(1), &frame(kind::HEADERS, 4, 5, &[0x82])).expect("a request");
        assert_eq!(guard.farewell(), Some(go_away(5, CALM)));
        let (first, rest) = (&frame(kind::DATA, 0, 1, b"hello")[..4], &b"hello"[..]);
        guard.wrote(first);
        assert_eq!(guard.farewell(), None);
        guard.wrote(&frame(kind::DATA, 0, 1, rest)[4..]);
        assert!(guard.farewell().is_some());
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Step {
        Reset,
        Ping,
        Continuation,
        Update,
        Request,
        Data,
    }

    const STEPS: [Step; 6] =
        [Step::Reset, Step::Ping, Step::Continuation, Step::Update, Step::Request, Step::Data];

    impl Step {
        fn frame(self) -> Vec<u8> {
            match self {
                Step::Reset => frame(kind::RST_STREAM, 0, 1, &[0; 4]),
                Step::Ping => frame(kind::PING, 0, 0, &[0; 8]),
                Step::Continuation => frame(kind::CONTINUATION, 0, 1, &[0; 3]),
                Step::Update => frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]),
                Step::Request => frame(kind::HEADERS, 4, 1, &[0x82]),
                Step::Data => frame(kind::DATA, 0, 1, b"hello"),
            }
        }
    }

    /// Whether a list of all that happened has too many of a kind after `since`, with the DATA
    /// frames after `long_since`.
    fn too_many(all: &[(u64, Step)], since: u64, long_since: u64) -> bool {
        let count = |wanted: Step, since: u64| {
            let those = all.iter().rev().take_while(|(at, _)| *at >= since);
            those.filter(|(_, step)| *step == wanted).count() as u32
        };
        let updates = UPDATES + UPDATES_PER_DATA * count(Step::Data, long_since);
        count(Step::Reset, since) > RESETS
            || count(Step::Ping, since) > CONTROLS
            || count(Step::Continuation, since) > CONTINUATIONS
            || count(Step::Update, since) > updates
    }

    #[test]
    fn a_bound_holds_around_every_border() {
        let mut guard = begun();
        let reset = frame(kind::RST_STREAM, 0, 1, &[0; 4]);
        let at = |ms| Mono(0).plus(Duration::from_millis(ms));
        for _ in 0..RESETS {
            assert_eq!(guard.read(at(9_999), &reset), Ok(()));
        }
        assert_eq!(guard.read(at(10_001), &reset), Err(Flood::Resets));
        assert_eq!(guard.read(at(19_999), &reset), Err(Flood::Resets));
        assert_eq!(guard.read(at(120_000), &reset), Ok(()), "all that is long ago");
    }

    proptest! {
        #[test]
        fn a_steady_client_is_never_a_flood(every in 56_u64..1_000, count in 1_u64..2_000) {
            let mut guard = begun();
            let reset = frame(kind::RST_STREAM, 0, 1, &[0; 4]);
            for turn in 0..count {
                let now = Mono(0).plus(Duration::from_millis(every * turn));
                prop_assert_eq!(guard.read(now, &reset), Ok(()));
            }
        }

        #[test]
        fn a_flood_is_found_however_it_is_cut(piece in 1_usize..100) {
            let mut guard = begun();
            let bytes = frame(kind::PING, 0, 0, &[0; 8]).repeat(CONTROLS as usize + 1);
            let mut found = Ok(());
            for part in bytes.chunks(piece) {
                found = found.and(guard.read(Mono(1), part));
            }
            prop_assert_eq!(found, Err(Flood::Controls));
        }

        #[test]
        fn no_ten_seconds_have_too_many_and_eleven_are_never_looked_at(
            steps in prop::collection::vec((0_u64..4_000, 0_usize..6, 1_u32..150), 1..60),
        ) {
            let mut guard = begun();
            let mut all: Vec<(u64, Step)> = Vec::new();
            let (mut now, mut written) = (0, 0);
            for (wait, kind, count) in steps {
                now += wait * wait / 2_000;
                let step = STEPS[kind];
                let count = if step == Step::Continuation { count / 25 } else { count };
                for at in 0..count {
                    let bytes = step.frame();
                    if step == Step::Data {
                        guard.wrote(&bytes);
                        written += 1;
                        continue;
                    }
                    all.resize(all.len() + std::mem::take(&mut written), (now, Step::Data));
                    all.push((now, step));
                    let told = guard.read(Mono(now), &bytes);
                    let within = |secs: u64, longer: u64| {
                        too_many(&all, now.saturating_sub(secs * 1_000), now.saturating_sub(longer * 1_000))
                    };
                    if told.is_err() {
                        prop_assert!(within(11, 20), "{told:?} at {now}");
                        return Ok(());
                    }
                    // More frames at one time are no less.
                    prop_assert!(at < count - 1 || !within(10, 21), "at {now}");
                }
            }
        }

        #[test]
        fn no_bytes_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut guard = begun();
            let _ = guard.read(Mono(1), &bytes);
            guard.wrote(&bytes);
            guard.farewell();
        }
    }
}
