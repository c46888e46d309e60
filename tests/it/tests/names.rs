//! Names while nodes die and come back, for resolvers of every kind, and the protocol by the book.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::asking::Asking;
use jaco_it::ground::{Ground, Spot};
use jaco_it::matrix::echo;
use jaco_it::{Cluster, Run, Stack, pause, unix_ms, with_cluster};
use jaco_lab::until;
use serde_json::json;

const ALL: [usize; 3] = [0, 1, 2];

/// Longest time until all is well again.
const REPAIR: Duration = Duration::from_secs(90);

/// Longest time for which a name may still tell of a node that has died or is cut off.
const WRONG: Duration = Duration::from_secs(5);

/// How long the cluster is in two parts.
const CUT: Duration = Duration::from_secs(30);

/// The image with clients of several C libraries.
const CLIENTS: &str = "jaco-clients:dev";

#[test]
fn names_are_right_through_deaths_and_partitions() -> Result<()> {
    with_cluster("names", 3, 3, |c| {
        let files = client_files(c)?;
        c.lab().import_files_everywhere(&files, CLIENTS)?;
        for (name, image) in [("alpha", CLIENTS), ("beta", jaco_it::IMAGE)] {
            let web = echo(&json!({ "image": image, "deploy": { "replicas": 3 } }));
            let stack = Stack::new(name, json!({ "services": { "web": web } }))?;
            c.node(0).ok(&["apply", &stack.path()])?;
        }
        let ground = Ground::survey(c, &ALL, &["alpha", "beta"])?;
        ensure!(ground.spots.len() == 6, "{ground:#?}");
        every_resolver_finds_the_same(&ground)?;
        the_book_is_kept(&ground)?;
        eprintln!("{}", a_dead_node_is_not_named(c, &ground)?);
        let ground = Ground::survey(c, &ALL, &["alpha", "beta"])?;
        eprintln!("{}", a_partition_heals(c, &ground)?);
        Ok(())
    })
}

/// Names of a deployment, and whom each may name.
fn names_of(ground: &Ground, deployment: &str) -> Vec<String> {
    let own = ground.spots.iter().filter(|spot| spot.deployment == deployment);
    let services = ["web", "tasks.web"]
        .into_iter()
        .flat_map(|name| [name.to_owned(), format!("{name}.{deployment}.jaco.internal")]);
    services.chain(own.map(|spot| spot.replica.clone())).collect()
}

fn addresses<'s>(spots: impl Iterator<Item = &'s Spot>) -> BTreeSet<Ipv4Addr> {
    spots.map(Spot::address).collect()
}

fn ask_from(c: &Cluster, ground: &Ground, nodes: &[usize]) -> Result<Vec<Asking>> {
    let from = ground.spots.iter().filter(|spot| nodes.contains(&spot.node));
    let asking = from.map(|spot| {
        let names = names_of(ground, &spot.deployment);
        Asking::start(c, ground, spot, &names)
    });
    asking.collect()
}

/// Waits until each name is answered with all whom it names, now.
fn all_are_named(c: &Cluster, asking: &[Asking]) -> Result<()> {
    let mut last = String::new();
    until("all names to be right", REPAIR, || {
        let Ok(ground) = Ground::survey(c, &ALL, &["alpha", "beta"]) else { return Ok(None) };
        let wrong = asking.iter().flat_map(|one| {
            let told = one.last().unwrap_or_default();
            let own = one.replica.split('-').next().unwrap_or_default().to_owned();
            names_of(&ground, &own).into_iter().filter_map({
                let spots = &ground.spots;
                move |name| {
                    let named = spots.iter().filter(|spot| spot.deployment == own);
                    let named = addresses(named.filter(|spot| {
                        name.contains("web.") || name.ends_with("web") || spot.replica == name
                    }));
                    let is = told.get(&name).map(|answer| answer.addresses.clone());
                    (is.as_ref() != Some(&named))
                        .then(|| format!("{}: {name} is {is:?}, not {named:?}", one.replica))
                }
            })
        });
        let wrong: Vec<String> = wrong.collect();
        last = wrong.join("\n");
        Ok((wrong.is_empty() && ground.spots.len() == 6).then_some(()))
    })
    .with_context(|| last.clone())
}

fn a_dead_node_is_not_named(c: &mut Cluster, ground: &Ground) -> Result<String> {
    let asking = ask_from(c, ground, &[0, 1])?;
    all_are_named(c, &asking)?;
    let dead = addresses(ground.spots.iter().filter(|spot| spot.node == 2));
    let host = c.node(2).host().clone();
    let since = unix_ms();
    c.node_mut(2).daemon().kill()?;
    host.power_off()?;
    pause(WRONG * 3);
    let line = not_told_for_long(&asking, &dead, since, "a node was killed")?;
    host.power_on()?;
    c.node_mut(2).daemon().start_again()?;
    c.healthy(&ALL)?;
    all_are_named(c, &asking)?;
    Ok(line)
}

fn a_partition_heals(c: &Cluster, ground: &Ground) -> Result<String> {
    let asking = ask_from(c, ground, &ALL)?;
    all_are_named(c, &asking)?;
    let is_lonely = |spot: &&Spot| spot.node == 2;
    let lonely = addresses(ground.spots.iter().filter(is_lonely));
    let rest = addresses(ground.spots.iter().filter(|spot| !is_lonely(spot)));
    let since = unix_ms();
    c.lab().isolate(c.node(2).name())?;
    pause(CUT);
    let (inside, outside): (Vec<Asking>, Vec<Asking>) = asking.into_iter().partition(|one| {
        ground.spots.iter().any(|spot| spot.node == 2 && spot.replica == one.replica)
    });
    let first = not_told_for_long(&outside, &lonely, since, "a node was cut off")?;
    let second = not_told_for_long(&inside, &rest, since, "a node is alone")?;
    c.lab().heal()?;
    c.healthy(&ALL)?;
    all_are_named(c, &[outside, inside].into_iter().flatten().collect::<Vec<_>>())?;
    Ok(format!("{first}\n{second}"))
}

fn not_told_for_long(
    asking: &[Asking],
    gone: &BTreeSet<Ipv4Addr>,
    since: u64,
    fault: &str,
) -> Result<String> {
    let now = unix_ms();
    let mut longest = Duration::ZERO;
    for one in asking {
        let until = one.told_until(gone, since, now)?.context("they were never named")?;
        let told = Duration::from_millis(until.saturating_sub(since));
        ensure!(told <= WRONG, "{fault}: {}: {:#?}", one.replica, one.answers()?);
        longest = longest.max(told);
    }
    Ok(format!("{fault}: {} containers were told of the dead for {longest:?}", asking.len()))
}

/// The probe (static glibc), getent (dynamic glibc) and a program of musl.
fn client_files(c: &Cluster) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = vec![("probe".to_owned(), fs::read(c.probe())?)];
    let listed = Run::of(Command::new("ldd").arg("/usr/bin/getent"))?.exits(0)?.stdout;
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.chain(["/usr/bin/getent"]) {
        files.push((path.trim_start_matches('/').to_owned(), fs::read(path)?));
    }
    files.push(("etc/nsswitch.conf".to_owned(), b"hosts: files dns\n".to_vec()));
    let directory = tempfile::tempdir()?;
    let (source, program) = (directory.path().join("resolve.c"), directory.path().join("resolve"));
    fs::write(&source, RESOLVE)?;
    let compile = |source: &Path, program: &Path| {
        let mut command = Command::new("musl-gcc");
        command.args(["-static", "-o"]).arg(program).arg(source);
        Run::of(&mut command)?.exits(0)
    };
    compile(&source, &program)?;
    files.push(("musl".to_owned(), fs::read(&program)?));
    Ok(files)
}

/// Prints the IPv4 addresses of a name.
const RESOLVE: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

int main(int count, char **words) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found, *one;
    char text[INET6_ADDRSTRLEN];
    if (count != 2 || getaddrinfo(words[1], NULL, &hints, &found) != 0)
        return 2;
    for (one = found; one; one = one->ai_next) {
        if (one->ai_family != AF_INET)
            return 3;
        struct sockaddr_in *address = (struct sockaddr_in *)one->ai_addr;
        puts(inet_ntop(AF_INET, &address->sin_addr, text, sizeof text));
    }
    return 0;
}
"#;

/// Both C libraries ask for A and AAAA at once, each in its way.
fn every_resolver_finds_the_same(ground: &Ground) -> Result<()> {
    let alpha: Vec<&Spot> = ground.spots.iter().filter(|s| s.deployment == "alpha").collect();
    let all = addresses(alpha.iter().copied());
    for from in &alpha {
        let run = |words: &[&str]| {
            let mut command = Command::new("nsenter");
            command.arg(format!("--target={}", from.pid)).args(["--net", "--mount", "--"]);
            Run::of(command.args(words))
        };
        let mut names: Vec<(String, BTreeSet<Ipv4Addr>)> = [
            "web",
            "WEB",
            "web.alpha",
            "web.jaco.internal",
            "web.alpha.jaco.internal",
            "tasks.web",
        ]
        .into_iter()
        .map(|name| (name.to_owned(), all.clone()))
        .collect();
        names.extend(alpha.iter().map(|s| (s.replica.clone(), [s.address()].into())));
        let strange = ["nobody", "web.beta", "web.beta.jaco.internal", "beta-web-0"];
        names.extend(strange.map(|name| (name.to_owned(), BTreeSet::new())));
        for (name, wanted) in names {
            for client in [
                &["/usr/bin/getent", "ahostsv4", &name][..],
                &["/usr/bin/getent", "ahosts", &name],
                &["/musl", &name],
                &["/probe", "client", "resolve", &name],
            ] {
                let found = run(client)?;
                let words = found.stdout.lines().filter_map(|line| line.split_whitespace().next());
                let told: BTreeSet<Ipv4Addr> = words.filter_map(|word| word.parse().ok()).collect();
                ensure!(told == wanted, "{}: {name} is {told:?}: {found:?}", from.replica);
                ensure!((found.code == Some(0)) != wanted.is_empty(), "{found:?}");
            }
        }
    }
    Ok(())
}

/// RFC 8906, section 8, as its `dig` commands: what the answer must and must not contain.
const BOOK: [(&str, &[&str], &[&str]); 19] = [
    ("+noedns +noad +norec", &["NOERROR", "ANSWER: 3"], &["OPT PSEUDO", " ad"]),
    ("+noedns +noad +norec -t TYPE1000", &["NOERROR", "ANSWER: 0", "SOA"], &[]),
    ("+noedns +noad +norec -t AAAA", &["NOERROR", "ANSWER: 0", "SOA"], &[]),
    ("+noedns +noad +norec +cd", &["NOERROR"], &[" ad", "FORMERR"]),
    ("+noedns +ad +norec", &["NOERROR"], &["FORMERR"]),
    ("+noedns +noad +norec +zflag", &["NOERROR"], &["MBZ"]),
    ("+noedns +noad +rec", &["NOERROR", " rd"], &[]),
    ("+noedns +noad +opcode=15 +norec +header-only", &["NOTIMP"], &["ANSWER: 3"]),
    ("+noedns +noad +norec +tcp", &["NOERROR", "(TCP)"], &[]),
    ("+edns=0 +nocookie +noad +norec", &["NOERROR", "EDNS: version: 0"], &["COOKIE"]),
    ("+edns=1 +noednsneg +nocookie +noad +norec", &["BADVERS", "EDNS: version: 0"], &["ANSWER: 3"]),
    ("+edns=0 +nocookie +noad +norec +ednsopt=100", &["NOERROR", "version: 0"], &["OPT=100"]),
    ("+edns=0 +nocookie +noad +norec +ednsflags=0x40", &["NOERROR", "version: 0"], &["MBZ"]),
    ("+edns=1 +noednsneg +nocookie +noad +norec +ednsflags=0x40", &["BADVERS"], &["MBZ"]),
    ("+edns=1 +noednsneg +nocookie +noad +norec +ednsopt=100", &["BADVERS"], &["OPT=100"]),
    ("+edns=0 +nocookie +noad +norec +dnssec", &["NOERROR", "flags: do"], &[]),
    ("+edns=1 +noednsneg +nocookie +noad +norec +dnssec", &["BADVERS"], &[]),
    ("+norec +noad +cookie +nsid +expire +subnet=0.0.0.0/0", &["NOERROR", "ANSWER: 3"], &["NSID"]),
    (
        "+edns=0 +nocookie +noad +norec +bufsize=512 +dnssec +ignore",
        &["NOERROR"],
        &["MSG SIZE  rcvd: 5"],
    ),
];

fn the_book_is_kept(ground: &Ground) -> Result<()> {
    let from = &ground.spots[0];
    let gateway = ground.bridges.iter().find(|bridge| bridge.holds(from)).context("no gateway")?;
    let dig = |more: &str| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", from.pid)).args(["--", "dig", "+tries=1"]);
        command.arg(format!("@{}", gateway.gateway)).arg("web.alpha.jaco.internal");
        Run::of(command.args(more.split_whitespace()))?.exits(0)
    };
    for (question, must, must_not) in BOOK {
        let answer = dig(question)?.stdout;
        let lacks: Vec<_> = must.iter().filter(|part| !answer.contains(*part)).collect();
        let has: Vec<_> = must_not.iter().filter(|part| answer.contains(*part)).collect();
        ensure!(lacks.is_empty() && has.is_empty(), "{question}: {lacks:?} {has:?}\n{answer}");
    }
    // Section 8.1: ways of asking that have refusals of their own.
    for (question, must) in [
        ("-t AXFR +noedns", "Transfer failed"),
        ("-c CH +noedns +norec", "REFUSED"),
        ("-t ANY +notcp +noedns +norec", "HINFO"),
    ] {
        let answer = dig(question)?.stdout;
        ensure!(answer.contains(must), "{question}: no {must}\n{answer}");
    }
    Ok(())
}
