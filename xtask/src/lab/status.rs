//! `cargo xtask lab status`.

use jaco_lab::{Lab, Owner, Record};

/// Prints one line per lab and one per host.
pub(super) fn print() {
    let labs = jaco_lab::list();
    if labs.is_empty() {
        println!("no labs");
    }
    for record in &labs {
        println!("{} 10.213.{}.0/24 {}", record.name, record.number(), owner(record));
        for host in Lab::of(record).hosts() {
            let engine = if host.engine().ping().is_ok() { "engine answers" } else { "no answer" };
            println!("  {} {} {engine}", host.name(), host.address());
        }
    }
}

fn owner(record: &Record) -> String {
    match record.owner {
        Owner::Nobody => "until lab down".to_owned(),
        Owner::Process { pid, .. } if record.owner.is_alive() => format!("of process {pid}"),
        Owner::Process { .. } => "stale".to_owned(),
    }
}
