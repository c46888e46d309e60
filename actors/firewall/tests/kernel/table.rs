//! What is written is what is there.

use crate::fixture::{add_scope, policy};
use crate::namespace::{Namespace, nft};
use crate::rig::Rig;
use jaco_firewall_core::{Change, Expr, FaultKind, Rule, Slot, diff, ruleset};

#[test]
fn the_whole_table_is_read_as_written() {
    Namespace::new().run(|| {
        let rig = Rig::new();
        assert_eq!(rig.read().ruleset, None);
        let mut wide = policy();
        wide.block_metadata = true;
        add_scope(&mut wide, "jaco-cccccccccc", "10.82.0.0/24", &["10.82.1.0/24"], true);
        for wanted in [ruleset(&policy()), ruleset(&wide), ruleset(&policy())] {
            let written = rig.write(&wanted).unwrap();
            let found = rig.read();
            assert_eq!(found.generation, written.generation);
            let found = found.ruleset.unwrap();
            assert_eq!(found.to_string(), wanted.to_string());
            assert_eq!(found, wanted);
        }
        assert!(rig.is_quiet(), "our own changes are not told");
    });
}

#[test]
fn nft_understands_what_was_written() {
    Namespace::new().run(|| {
        let rig = Rig::new();
        rig.write(&ruleset(&policy())).unwrap();
        let listing = nft("list ruleset");
        for line in [
            "table inet jaco {",
            "type filter hook prerouting priority raw - 10; policy accept;",
            "type nat hook postrouting priority srcnat - 1; policy accept;",
            "elements = { 10.81.0.0 . 10.81.0.0,",
            "iifname \"jaco-*\" iifname . ip saddr & 255.255.255.192 @bridge_src_26 accept",
            "ip saddr & 255.255.255.192 . ip daddr & 255.255.255.192 @allow_26 accept",
            "ct state established,related accept",
            "ct status dnat accept",
            "counter name \"drop_cross_scope\" drop",
            "tcp option maxseg size set rt mtu",
            "fully-random",
        ] {
            assert!(listing.contains(line), "{line}\n{listing}");
        }
        // What it shows, it can also write: nothing of it is opaque to an administrator.
        assert!(!listing.contains("@nh") && !listing.contains("@th"), "{listing}");
        std::fs::write(shown_file(), format!("flush ruleset\n{listing}")).unwrap();
        nft(&format!("--check --file {}", shown_file()));
        std::fs::remove_file(shown_file()).unwrap();
    });
}

fn shown_file() -> String {
    let id = std::process::id();
    std::env::temp_dir().join(format!("jaco-firewall-{id}.nft")).display().to_string()
}

#[test]
fn elements_change_alone() {
    Namespace::new().run(|| {
        let rig = Rig::new();
        let before = ruleset(&policy());
        let generation = rig.write(&before).unwrap().generation;
        let handles = || -> Vec<String> {
            let listing = nft("--handle list table inet jaco");
            let lines = listing.lines().filter(|line| line.contains("# handle"));
            lines.map(|line| line.rsplit("handle").next().unwrap().to_owned()).collect()
        };
        let rules = handles();
        let mut wider = policy();
        add_scope(&mut wider, "jaco-cccccccccc", "10.81.1.0/26", &["10.81.1.64/26"], true);
        wider.scopes.pop_first();
        wider.host_ports = [9100].into();
        let wanted = ruleset(&wider);
        let Change::Elements(delta) = diff(&before, &wanted) else { panic!("other rules") };
        let written = rig.write_elements(delta.clone(), generation).unwrap();
        let found = rig.read();
        assert_eq!((found.ruleset, found.generation), (Some(wanted), written.generation));
        assert_eq!(handles(), rules, "rules were written anew");
        // Made for a generation that is over, and of elements that are gone.
        let late = rig.write_elements(delta.clone(), generation).unwrap_err();
        assert_eq!(late.kind, FaultKind::Overtaken);
        let gone = rig.write_elements(delta, written.generation).unwrap_err();
        assert_eq!(gone.kind, FaultKind::Refused);
        assert!(gone.message.contains("delete from set allow_26"), "{}", gone.message);
    });
}

#[test]
fn a_refused_transaction_changes_nothing_and_names_its_part() {
    Namespace::new().run(|| {
        let rig = Rig::new();
        let good = ruleset(&policy());
        let mut bad = good.clone();
        let lookup = Expr::Lookup { set: "nowhere".to_owned(), at: Slot(0), inverted: false };
        bad.chains.get_mut("input").unwrap().rules.insert(2, Rule(vec![lookup]));
        assert_eq!(rig.write(&bad).unwrap_err().kind, FaultKind::Refused);
        assert_eq!(rig.read().ruleset, None);
        rig.write(&good).unwrap();
        let fault = rig.write(&bad).unwrap_err();
        assert!(fault.message.contains("rule 3 of chain input"), "{}", fault.message);
        assert!(fault.message.contains("No such file"), "{}", fault.message);
        assert_eq!(rig.read().ruleset, Some(good));
    });
}

#[test]
fn what_others_write_into_our_table_never_passes_for_ours() {
    Namespace::new().run(|| {
        let rig = Rig::new();
        let wanted = ruleset(&policy());
        let touches = [
            "insert rule inet jaco forward accept",
            "add rule inet jaco forward ip saddr 10.81.0.2 ip daddr 10.81.0.130 accept",
            "add rule inet jaco forward meta mark set 1",
            "add rule inet jaco forward limit rate 5/second accept",
            "add chain inet jaco extra",
            "add chain inet jaco extra { type filter hook forward priority -400; policy drop; }",
            "add chain inet jaco forward { policy drop; }",
            "add set inet jaco extra { type ipv4_addr; flags timeout; }",
            "add map inet jaco extra { type ipv4_addr : verdict; }",
            "add element inet jaco fence { 10.81.0.2 }",
            "delete element inet jaco bridge_gw { jaco-aaaaaaaaaa . 10.81.0.1 }",
            "add counter inet jaco extra",
            "add quota inet jaco extra { over 1 mbytes }",
            "add table inet jaco { flags dormant; }",
            "flush chain inet jaco pre",
            "flush set inet jaco allow_26",
            "delete table inet jaco",
        ];
        for touch in touches {
            rig.write(&wanted).unwrap();
            nft(touch);
            assert_eq!(rig.drift().as_deref(), Some("nft"), "{touch}");
            assert_ne!(rig.read().ruleset.as_ref(), Some(&wanted), "{touch}");
        }
        rig.write(&wanted).unwrap();
        // Other tables are none of our business.
        nft("add table inet other");
        nft("add chain inet other forward { type filter hook forward priority 0; }");
        nft("add table ip jaco");
        assert_eq!(rig.read().ruleset, Some(wanted));
        assert!(rig.is_quiet());
    });
}

#[test]
fn the_table_goes_when_it_is_told_to() {
    Namespace::new().run(|| {
        assert!(!jaco_firewall::remove_table().unwrap());
        let rig = Rig::new();
        rig.write(&ruleset(&policy())).unwrap();
        assert!(jaco_firewall::remove_table().unwrap());
        assert_eq!(Rig::new().read().ruleset, None);
    });
}
