//! The bytes of a snapshot, and what is no snapshot.

use crate::fixture::Bench;
use crate::golden::testdata;
use crate::script::{Line, command};
use jaco_model::command::Command;
use jaco_state::{Section, SnapshotError, State};

/// A history that leaves something in every section.
const HISTORY: &str = "\
init id=1
apply shop web,n=2,image=web:1,port=80,env=x each,global,mount=data volume=data: note=hello
step add shop web 0
step add shop each alpha
step place shop-web-0 1 n1 1
step place shop-each-alpha 1 n1 1
report n1 shop-web-0.g1=pulling
report n1 shop-web-0.g1=running
report n1 shop-each-alpha.g1=failed
volume n1 jaco_shop_data shop data
report n1 shop-each-alpha.g1=stopped
step remove shop-each-alpha
apply shop web,n=3,image=web:2,port=80 each,global,mount=data volume=data:
step rollout shop web 2 paused from=1 code=unhealthy
step explain shop-web-0 no-room
scale shop web=4
restart shop/web
step place shop-web-0 2 n1 2
report n1 shop-web-0.g1=stopped
scale shop nothing=1
token one
token two
join one n2 beta raft=2
remove n2 force
forget n2
report n1 shop-web-0.g2=stopped
later 600000
step release shop default n1
apply blog web,n=1
step add blog web 0
step place blog-web-0 1 n1 1
apply site web,n=1 route=a.example
acme account
acme begin a.example
acme ordered a.example
acme challenge a.example
acme validating a.example
acme finalizing a.example
acme issued a.example
acme begin a.example
acme clock off";

/// As far as the earlier formats could tell.
const HISTORY_1: usize = 20;
const HISTORY_2: usize = 25;
const HISTORY_3: usize = 31;
const HISTORY_4: usize = 40;

fn full_state() -> State {
    state_after(usize::MAX, true)
}

/// Without addresses it is as it was before there were any.
fn state_after(n_lines: usize, has_addresses: bool) -> State {
    let mut bench = Bench::default();
    for line in HISTORY.lines().take(n_lines).map(Line::new) {
        if line.word(0) == "later" {
            bench.clock += line.word(1).parse::<u64>().expect("milliseconds");
            continue;
        }
        let mut command = command(&bench, &line);
        if let Command::InitCluster(init) = &mut command
            && !has_addresses
        {
            init.ipam = None;
        }
        bench.run_numbered(command);
    }
    bench.state
}

/// Sections as one file: `== <name> <count>` before the lines of each.
fn to_text(sections: &[Section]) -> String {
    let text = |section: &Section| {
        let lines = String::from_utf8(section.bytes.clone()).expect("sections are text");
        format!("== {} {}\n{lines}", section.name, section.count)
    };
    sections.iter().map(text).collect()
}

fn from_text(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("== "), sections.last_mut()) {
            (Some(head), _) => {
                let (name, count) = head.trim_end().split_once(' ').expect("name and count");
                let count = count.parse().expect("a number");
                sections.push(Section { name: name.to_owned(), count, bytes: Vec::new() });
            }
            (None, Some(section)) => section.bytes.extend(line.bytes()),
            (None, None) => panic!("a line before the first section"),
        }
    }
    sections
}

/// A released format never changes: when this fails, the change needs a new format version.
#[test]
fn format_5_is_read_and_written_as_ever() {
    let path = testdata().join("snapshot-v5.golden");
    let state = full_state();
    let sections = state.to_sections();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, to_text(&sections)).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(to_text(&sections), golden);
    let restored = State::from_sections(&from_text(&golden)).unwrap();
    assert_eq!(restored, state);
    assert_eq!(restored.hash(), state.hash());
    assert!(sections.iter().all(|section| section.count > 0), "a section is empty");
}

/// The golden files are what the earlier versions wrote of the same history.
#[test]
fn earlier_formats_are_carried_forward() {
    for (file, n_lines, has_addresses) in [
        ("snapshot-v1.golden", HISTORY_1, false),
        ("snapshot-v2.golden", HISTORY_2, false),
        ("snapshot-v3.golden", HISTORY_3, true),
        ("snapshot-v4.golden", HISTORY_4, true),
    ] {
        let golden = std::fs::read_to_string(testdata().join(file)).unwrap();
        let same = state_after(n_lines, has_addresses);
        let golden = with_hashes_of_today(&golden, &same);
        let restored = State::from_sections(&from_text(&golden)).unwrap();
        restored.check().unwrap();
        assert_eq!(restored, same, "{file}");
        assert_eq!(restored.hash(), same.hash(), "{file}");
        assert_eq!(State::from_sections(&restored.to_sections()).unwrap(), restored, "{file}");
    }
}

/// What a spec's hash covers may change with a version (ADR 0008): containers are then made anew.
/// The history is the same but for the hashes.
fn with_hashes_of_today(golden: &str, same: &State) -> String {
    let earlier = State::from_sections(&from_text(golden)).expect("a golden file is readable");
    let mut text = golden.to_owned();
    for (key, record) in &earlier.revisions {
        for (service, hash) in &record.hashes {
            text = text.replace(hash.as_str(), &same.revisions[key].hashes[service]);
        }
    }
    text
}

#[test]
fn an_empty_state_survives() {
    let restored = State::from_sections(&State::default().to_sections()).unwrap();
    assert_eq!(restored, State::default());
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let refused = |change: &dyn Fn(&mut Vec<Section>)| {
        let mut sections = full_state().to_sections();
        change(&mut sections);
        State::from_sections(&sections).unwrap_err()
    };
    let header = br#"{"format":7,"applied_index":1,"more":true}"#;
    let newer = refused(&|sections| sections[0].bytes = header.to_vec());
    assert!(matches!(newer, SnapshotError::UnknownVersion(7)), "{newer}");
    let missing = refused(&|sections| drop(sections.remove(4)));
    assert!(matches!(missing, SnapshotError::MissingSection("revisions")), "{missing}");
    let extra = refused(&|sections| sections[4].name = "secrets".to_owned());
    assert!(matches!(extra, SnapshotError::UnknownSection(name) if name == "secrets"));
    let count = refused(&|sections| sections[2].count = 9);
    assert!(matches!(count, SnapshotError::Count { section: "nodes", expected: 9, found: 1 }));
    let torn = refused(&|sections| {
        sections[2].bytes.pop();
        sections[2].bytes.pop();
    });
    assert!(matches!(torn, SnapshotError::Line { section: "nodes", line: 1, .. }), "{torn}");
    assert!(State::from_sections(&[]).is_err());
}
