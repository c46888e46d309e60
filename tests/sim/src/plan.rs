//! What one seed is about: how many hosts, how bad the network, which faults how often.
//!
//! Seeds differ on purpose in which faults they have at all: a fault that happens all the time
//! hides what happens without it (swarm testing).

use crate::bug::Bug;
use crate::queue::{MILLI, Micros, SECOND};
use crate::random::Random;
use jaco_raft_core::SnapshotPolicy;
use std::time::Duration;

/// Every kind of fault and change from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9 of one daemon.
    Crash,
    /// kill -9 of all daemons at once.
    CrashAll,
    /// A planned stop: leadership is handed over first.
    Stop,
    /// SIGSTOP of one daemon.
    Pause,
    /// A machine sleeps: its monotonic clock stands still too.
    Suspend,
    /// Two groups that do not hear each other.
    Halves,
    /// One host alone.
    Isolate,
    /// One direction between two groups is dead.
    OneWay,
    /// Two groups that share one host.
    Bridge,
    /// The network is whole again.
    Mend,
    /// One disk is full for a while.
    DiskFull,
    /// One sync fails.
    SyncFails,
    /// One disk is slow for a while.
    SlowDisk,
    /// Somebody sets a wall clock.
    ClockJump,
    /// A data directory is lost, and the host joins again under a new raft id.
    Wipe,
    /// A new host joins.
    Join,
    /// A member is removed.
    Remove,
    /// An engine restarts.
    EngineRestart,
    /// An engine hangs.
    EngineHang,
    /// A container ends by itself.
    ContainerEnds,
    /// Somebody deletes the table of the packet filter.
    FlushFilter,
    /// Somebody deletes the interface of the mesh.
    DropTunnel,
}

/// All of them, with the weight in a seed that has them.
pub(crate) const FAULTS: [(Fault, u64); 22] = [
    (Fault::Crash, 10),
    (Fault::CrashAll, 2),
    (Fault::Stop, 3),
    (Fault::Pause, 7),
    (Fault::Suspend, 2),
    (Fault::Halves, 5),
    (Fault::Isolate, 7),
    (Fault::OneWay, 4),
    (Fault::Bridge, 3),
    (Fault::Mend, 8),
    (Fault::DiskFull, 2),
    (Fault::SyncFails, 2),
    (Fault::SlowDisk, 3),
    (Fault::ClockJump, 2),
    (Fault::Wipe, 5),
    (Fault::Join, 6),
    (Fault::Remove, 4),
    (Fault::EngineRestart, 2),
    (Fault::EngineHang, 2),
    (Fault::ContainerEnds, 3),
    (Fault::FlushFilter, 4),
    (Fault::DropTunnel, 2),
];

/// How messages travel.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) delay: (Micros, Micros),
    /// So many of a thousand take up to the long delay.
    pub(crate) slow: u64,
    pub(crate) slow_delay: Micros,
    /// Lost of a thousand.
    pub(crate) loss: u64,
    /// Doubled of a thousand.
    pub(crate) twice: u64,
}

impl Weather {
    /// Once everything is healed.
    pub(crate) fn fair() -> Weather {
        Weather { delay: (200, 2 * MILLI), slow: 0, slow_delay: 0, loss: 0, twice: 0 }
    }

    fn draw(random: &mut Random) -> Weather {
        let mut weather = Weather::fair();
        match random.below(4) {
            0 => {}
            1 => weather.delay = (200, 20 * MILLI),
            2 => (weather.slow, weather.slow_delay) = (30, 300 * MILLI),
            _ => {
                weather.delay = (MILLI, 60 * MILLI);
                (weather.slow, weather.slow_delay) = (10, 2 * SECOND);
            }
        }
        weather.loss = [0, 0, 5, 30, 120][random.weighted(&[2, 1, 2, 2, 1])];
        weather.twice = [0, 10, 80][random.weighted(&[1, 1, 1])];
        weather
    }
}

/// The whole scenario.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) bug: Option<Bug>,
    /// Machines, members or not.
    pub(crate) hosts: usize,
    /// Members from the first snapshot on.
    pub(crate) founders: usize,
    /// The first snapshot is of the oldest format.
    pub(crate) is_old_format: bool,
    /// Spare hosts join one after another before the faults begin.
    pub(crate) grows_first: bool,
    /// How long faults happen.
    pub(crate) chaos: Micros,
    /// Mean time between two faults.
    pub(crate) fault_every: Micros,
    /// Weights of [`FAULTS`].
    pub(crate) faults: Vec<u64>,
    pub(crate) weather: Weather,
    /// How long a batch takes.
    pub(crate) disk: (Micros, Micros),
    pub(crate) clients: usize,
    /// Whether every second client only reads, all the time.
    pub(crate) has_readers: bool,
    /// Pause of a client between two requests.
    pub(crate) think: (Micros, Micros),
    pub(crate) snapshots: SnapshotPolicy,
    pub(crate) tick: Duration,
    /// Largest drift of a clock, in millionths.
    pub(crate) drift: u64,
    /// So many engine orders of a thousand fail.
    pub(crate) engine_faults: u64,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random, bug: Option<Bug>) -> Plan {
        let is_old_format = random.chance(150);
        let founders = if is_old_format {
            1
        } else {
            [1, 2, 3, 4, 5, 7][random.weighted(&[2, 1, 7, 1, 4, 1])]
        };
        let spares =
            [0, 1, 2, 3][random.weighted(&[3, 3, 2, 1])].max(if founders == 1 { 2 } else { 0 });
        let hosts = (founders + spares).min(7);
        let rare = random.chance(200);
        let every_entries = if rare { 5_000 } else { random.between(8, 150) };
        Plan {
            bug,
            hosts,
            founders,
            is_old_format,
            grows_first: random.chance(500),
            chaos: random.between(15, 40) * SECOND,
            fault_every: random.between(400, 4_000) * MILLI,
            faults: FAULTS.map(|(_, weight)| if random.chance(600) { weight } else { 0 }).into(),
            weather: Weather::draw(random),
            disk: [(100, MILLI), (500, 12 * MILLI), (MILLI, 60 * MILLI)]
                [random.weighted(&[2, 2, 1])],
            has_readers: random.chance(500),
            clients: [1, 2, 3, 5][random.weighted(&[1, 2, 3, 1])],
            think: [(MILLI, 50 * MILLI), (50 * MILLI, 800 * MILLI)][random.weighted(&[1, 3])],
            snapshots: SnapshotPolicy {
                every_entries,
                every_bytes: 64 << 20,
                interval_min: Duration::from_millis(random.between(200, 3_000)),
                interval_min_for_peers: Duration::from_millis(random.between(50, 1_000)),
                trailing_entries: random.between(0, every_entries),
                trailing_bytes: 64 << 20,
            },
            tick: Duration::from_millis(100),
            drift: [0, 100, 10_000][random.weighted(&[1, 1, 1])],
            engine_faults: [0, 0, 20][random.weighted(&[1, 1, 1])],
        }
    }
}
