//! Golden scripts: `tests/testdata/*.txt` holds commands, `----`, and what followed from them.
//! `UPDATE_GOLDEN=1` rewrites the outputs. Every message takes 1 ms.

use crate::world::World;
use jaco_liveness_core::{Input, Peer};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[test]
fn scripts_end_as_written() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "scripts are missing");
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let actual = play(&expected);
        if update {
            std::fs::write(&file, actual).unwrap();
        } else {
            assert_eq!(actual, expected, "{}; UPDATE_GOLDEN=1 rewrites it", file.display());
        }
    }
}

/// The script with the output of each block made anew.
fn play(script: &str) -> String {
    let mut world = World::new(1, 1);
    let mut text = String::new();
    for block in script.split("\n\n").map(str::trim_end).filter(|block| !block.is_empty()) {
        let (input, _) = block.split_once("\n----").unwrap_or((block, ""));
        if !text.is_empty() {
            text.push('\n');
        }
        writeln!(text, "{input}").unwrap();
        if input.lines().all(|line| line.starts_with('#')) {
            continue;
        }
        text.push_str("----\n");
        for line in input.lines().filter(|line| !line.starts_with('#')) {
            obey(&mut world, line);
        }
        for line in world.lines.drain(..) {
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

fn obey(world: &mut World, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["nodes", count] => *world = World::new(count.parse().unwrap(), 1),
        ["run", seconds] => {
            let seconds: f64 = seconds.parse().unwrap();
            world.run((seconds * 1_000.0).round() as u64);
        }
        ["kill", node] => world.kill(index(node), false),
        ["power", "off", node] => world.kill(index(node), true),
        ["start", node] => world.start(index(node)),
        ["pause", node] => world.pause(index(node)),
        ["resume", node] => world.resume(index(node)),
        ["late", node, millis] => world.nodes[index(node)].late = millis.parse().unwrap(),
        ["announce", node] => world.step(index(node), Input::Pausing),
        ["cut", from, to] => {
            world.network.cut(index(from), index(to));
            world.network.cut(index(to), index(from));
        }
        ["cut", one_way] => {
            let (from, to) = one_way.split_once('>').unwrap();
            world.network.cut(index(from), index(to));
        }
        ["heal"] => world.network.heal(),
        ["refuse", word] => world.raft.refuses = *word == "on",
        ["chatty", word] => world.chatty = *word == "on",
        ["join", node] => join(world, node),
        ["show", node] => show(world, index(node)),
        _ => panic!("no such command: {line}"),
    }
}

fn index(node: &str) -> usize {
    usize::from(node.as_bytes()[0] - b'a')
}

/// A node that was a member all the time for the script becomes one for the cluster.
fn join(world: &mut World, node: &str) {
    let gone: Vec<Peer> = world.raft.members.clone();
    let without: Vec<Peer> =
        gone.iter().filter(|peer| peer.name.as_str() != node).cloned().collect();
    for other in (0..gone.len()).filter(|other| *other != index(node)) {
        world.step(other, Input::Roster(without.clone()));
        world.step(other, Input::Roster(gone.clone()));
    }
}

fn show(world: &mut World, node: usize) {
    let core = world.nodes[node].core.as_ref().unwrap();
    let (view, word, now) = (core.view(), core.word(), world.now);
    for (peer, seen) in view {
        let name = world.name(world.raft.index(&peer));
        let contact = seen.last_contact.map(|at| at.0);
        let ago = contact.map_or("never".to_owned(), |at| format!("{} ms ago", now - at));
        let mut text = format!("{name}: heard {ago}, applied {}", seen.applied_index);
        let flags =
            [(seen.suspect, "suspect"), (seen.impaired, "impaired"), (seen.flapping, "flapping")];
        for (_, flag) in flags.iter().filter(|(is_set, _)| *is_set) {
            text += &format!(", {flag}");
        }
        world.lines.push(text);
    }
    let suspects = word.suspects.len();
    let flags = [(word.impaired, "impaired"), (word.pausing, "pausing")];
    let flags: Vec<&str> = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, f)| *f).collect();
    world.lines.push(format!(
        "says: change {}, applied {}, {suspects} suspects, stalled {} ms {flags:?}",
        word.epoch, word.applied_index, word.stalled_ms
    ));
}
