//! Golden scripts of the planner, and what holds for every cluster.
//!
//! Each `testdata/plan/*.txt` holds a script, `----`, and its output; `UPDATE_GOLDEN=1` rewrites the
//! outputs. A line of the script is one of
//!
//! ```text
//! NAME [voter|learner] [zone=Z] [ready|joining|down|leaving|stranger] [silent] [fit] [close] [lost]
//! leader NAME
//! even            the number of voters is even for long
//! run             plans and does it until nothing comes any more
//! ```
//!
//! A line with a name changes that member; what it does not say stays. `fit` says `close` too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Part, Plan, Seat, View, plan, voters_for};
use crate::input::{MemberChange, Standing};

#[test]
fn plans_are_as_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plan");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (script, expected) = text.split_once("----\n").unwrap_or((&text, ""));
        let found = run_script(script);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, format!("{script}----\n{found}")).unwrap();
        } else {
            assert_eq!(found, expected, "{}; UPDATE_GOLDEN=1 rewrites it", file.display());
        }
    }
}

fn run_script(script: &str) -> String {
    let mut view = empty();
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", ..] => {}
            ["leader", name] => view.leader = seat(&mut view, name).raft_id,
            ["even"] => view.is_even_for_long = true,
            ["run"] => run(&mut view, &mut out),
            [name, ..] => {
                let seat = seat(&mut view, name);
                words[1..].iter().for_each(|word| describe(seat, word));
            }
            [] => {}
        }
    }
    out
}

fn run(view: &mut View, out: &mut String) {
    for _ in 0..40 {
        let step = plan(view);
        let name = |id| view.seats.iter().find(|s| s.raft_id == id).unwrap().name.clone();
        let text = match step {
            Plan::Settled => "settled".to_owned(),
            Plan::Wait => "wait".to_owned(),
            Plan::HandOver(to) => format!("hand over to {}", name(to)),
            Plan::Change(MemberChange::AddVoter(id)) => format!("promote {}", name(id)),
            Plan::Change(MemberChange::Remove(id)) => format!("remove {}", name(id)),
            Plan::Change(MemberChange::AddLearner(id)) => {
                let is_new = view.seats.iter().any(|s| s.raft_id == id && s.part == Part::Outside);
                format!("{} {}", if is_new { "add" } else { "demote" }, name(id))
            }
        };
        perform(view, step);
        writeln!(out, "{text:<20} {}", voters(view).join(" ")).unwrap();
        if matches!(step, Plan::Settled | Plan::Wait) {
            return;
        }
    }
    out.push_str("no end\n");
}

fn empty() -> View {
    View { leader: 0, seats: Vec::new(), is_even_for_long: false, may_hand_over: true }
}

fn seat<'a>(view: &'a mut View, name: &str) -> &'a mut Seat {
    let found = view.seats.iter().position(|seat| seat.name == name);
    let at = found.unwrap_or_else(|| {
        let raft_id = view.seats.len() as u64 + 1;
        view.seats.push(Seat {
            raft_id,
            name: name.to_owned(),
            zone: String::new(),
            standing: Some(Standing::Ready),
            part: Part::Outside,
            is_heard: true,
            is_close: false,
            is_fit: false,
            is_lost: false,
            matched: raft_id,
        });
        view.seats.len() - 1
    });
    &mut view.seats[at]
}

fn describe(seat: &mut Seat, word: &str) {
    match word {
        "voter" => seat.part = Part::Voter,
        "learner" => seat.part = Part::Learner,
        "ready" => (seat.standing, seat.is_heard) = (Some(Standing::Ready), true),
        "joining" => seat.standing = Some(Standing::Joining),
        "leaving" => seat.standing = Some(Standing::Leaving),
        "stranger" => seat.standing = None,
        "down" => {
            (seat.standing, seat.is_heard) = (Some(Standing::Down), false);
            (seat.is_close, seat.is_fit) = (false, false);
        }
        "silent" => (seat.is_heard, seat.is_close, seat.is_fit) = (false, false, false),
        "close" => seat.is_close = true,
        "fit" => (seat.is_close, seat.is_fit) = (true, true),
        "lost" => seat.is_lost = true,
        zone => {
            zone.strip_prefix("zone=").expect("a word of the script").clone_into(&mut seat.zone)
        }
    }
}

fn perform(view: &mut View, step: Plan) {
    let (id, part) = match step {
        Plan::Settled | Plan::Wait => return,
        Plan::HandOver(to) => {
            view.leader = to;
            return;
        }
        Plan::Change(MemberChange::AddVoter(id)) => (id, Part::Voter),
        Plan::Change(MemberChange::AddLearner(id)) => (id, Part::Learner),
        Plan::Change(MemberChange::Remove(id)) => (id, Part::Outside),
    };
    view.seats.iter_mut().find(|seat| seat.raft_id == id).unwrap().part = part;
    // Who is neither in the roster nor in the list is nobody.
    view.seats.retain(|seat| seat.standing.is_some() || seat.part != Part::Outside);
}

fn voters(view: &View) -> Vec<&str> {
    let voters = view.seats.iter().filter(|seat| seat.part == Part::Voter);
    let mut names: Vec<&str> = voters.map(|seat| seat.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn has_live_majority(view: &View) -> bool {
    let voters = || view.seats.iter().filter(|seat| seat.part == Part::Voter);
    let is_live = |seat: &&Seat| {
        seat.raft_id == view.leader || (seat.is_heard && seat.standing != Some(Standing::Down))
    };
    voters().filter(is_live).count() > voters().count() / 2
}

fn any_seat() -> impl Strategy<Value = (Option<Standing>, Part, bool, bool, u8)> {
    let standing = prop::sample::select(vec![
        Some(Standing::Ready),
        Some(Standing::Ready),
        Some(Standing::Ready),
        Some(Standing::Joining),
        Some(Standing::Down),
        Some(Standing::Leaving),
        None,
    ]);
    let part = prop::sample::select(vec![Part::Outside, Part::Learner, Part::Voter, Part::Voter]);
    (standing, part, any::<bool>(), any::<bool>(), 0..3_u8)
}

fn any_view() -> impl Strategy<Value = View> {
    (prop::collection::vec(any_seat(), 1..10), 0..3_u8, any::<bool>()).prop_map(
        |(seats, leader_leaves, can_grow)| {
            let mut view = empty();
            for (n, (standing, part, flag, is_lost, zone)) in seats.into_iter().enumerate() {
                let seat = seat(&mut view, &format!("n{n}"));
                (seat.standing, seat.part) = (standing, part);
                seat.zone = zone.to_string();
                seat.is_heard = match standing {
                    Some(Standing::Down) => false,
                    Some(Standing::Ready) => true,
                    _ => flag,
                };
                seat.is_lost = standing == Some(Standing::Down) && is_lost;
                seat.is_fit = standing == Some(Standing::Ready) && can_grow;
                seat.is_close = seat.is_fit || (seat.is_heard && part == Part::Voter);
            }
            view.leader = 1;
            view.seats[0].part = Part::Voter;
            view.seats[0].is_heard = true;
            let leaves = leader_leaves == 0;
            view.seats[0].standing = Some(if leaves { Standing::Leaving } else { Standing::Ready });
            view.seats.retain(|seat| seat.standing.is_some() || seat.part != Part::Outside);
            view
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every cluster with a live majority comes to rest, keeps the majority at every step, and
    /// never takes the vote from its leader. At rest a second look changes nothing.
    #[test]
    fn plans_end_and_keep_the_majority(start in any_view()) {
        prop_assume!(has_live_majority(&start));
        let mut view = start.clone();
        let mut steps = Vec::new();
        loop {
            let step = plan(&view);
            if step == Plan::Wait && !view.is_even_for_long {
                view.is_even_for_long = true;
                continue;
            }
            if matches!(step, Plan::Wait | Plan::Settled) {
                prop_assert_eq!(plan(&view), step);
                break;
            }
            steps.push(step);
            prop_assert!(steps.len() < 60, "no end: {:?}", steps);
            if let Plan::Change(MemberChange::AddLearner(id) | MemberChange::Remove(id)) = step {
                prop_assert_ne!(id, view.leader);
            }
            perform(&mut view, step);
            prop_assert!(has_live_majority(&view), "{:?} of {:?}", step, steps);
        }
        prop_assert!(is_sound(&view), "ends at {:?} after {:?}", view, steps);
    }

    /// Where all are well, the voters are those of the table and nobody is left out.
    #[test]
    fn a_healthy_cluster_gets_its_voters(members in 1..10_usize, voters in 1..10_usize, zones in 1..4_usize) {
        let mut view = empty();
        for n in 0..members {
            let seat = seat(&mut view, &format!("n{n}"));
            seat.part = if n < voters { Part::Voter } else { Part::Outside };
            seat.zone = (n % zones).to_string();
            (seat.is_fit, seat.is_close) = (true, true);
        }
        view.leader = 1;
        let mut evens = 0;
        while plan(&view) != Plan::Settled {
            let before = self::voters(&view).len();
            let step = plan(&view);
            prop_assert_ne!(step, Plan::Wait);
            perform(&mut view, step);
            let after = self::voters(&view).len();
            if after != before {
                evens = if after.is_multiple_of(2) { evens + 1 } else { 0 };
                prop_assert!(evens < 2, "even once at a time");
            }
        }
        prop_assert_eq!(self::voters(&view).len(), voters_for(members));
        prop_assert!(view.seats.iter().all(|seat| seat.part != Part::Outside));
        let mut by_zone = BTreeMap::<&str, usize>::new();
        for seat in view.seats.iter().filter(|seat| seat.part == Part::Voter) {
            *by_zone.entry(&seat.zone).or_default() += 1;
        }
        let most = by_zone.values().max().copied().unwrap_or(0);
        let fair = voters_for(members).div_ceil(zones.min(members)) + 1;
        prop_assert!(voters > 1 || most <= fair, "spread over zones: {by_zone:?}");
    }
}

/// At rest: who must go is needed for the majority, and so is whoever is too many, or makes the
/// number even.
fn is_sound(view: &View) -> bool {
    let target = voters_for(view.seats.iter().filter(|seat| !must_go(seat)).count());
    let voters = view.seats.iter().filter(|seat| seat.part == Part::Voter);
    let (leavers, keepers): (Vec<&Seat>, Vec<&Seat>) = voters.partition(|seat| must_go(seat));
    let is_needed = |seat: &&Seat| seat.raft_id == view.leader || !can_spare(view, seat);
    let is_right = keepers.len() <= target && (!leavers.is_empty() || keepers.len() % 2 == 1);
    target == 0 || (leavers.iter().all(is_needed) && (is_right || keepers.iter().all(is_needed)))
}

fn must_go(seat: &Seat) -> bool {
    matches!(seat.standing, None | Some(Standing::Leaving))
}

fn can_spare(view: &View, seat: &Seat) -> bool {
    let mut without = view.clone();
    without.seats.iter_mut().find(|it| it.raft_id == seat.raft_id).unwrap().part = Part::Learner;
    has_live_majority(&without)
}
