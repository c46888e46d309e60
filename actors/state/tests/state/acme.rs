//! Lines of scripts about automatic certificates: `acme <change> <domain> [term=N] [order=url]`.

use crate::script::Line;
use jaco_model::WallMs;
use jaco_model::command::{AcmeChange, AcmeStep, Command};
use jaco_model::entity::{CaKind, ClockSuspicion, RenewalAdvice, RenewalWindow};
use jaco_model::spec::{Challenge, RouteOptions, RouteSpec, SecretText, TlsMode};
use jaco_state::State;
use std::collections::BTreeSet;

const DIRECTORY: &str = "https://ca.example/dir";

/// `<domain>`, or `<domain>@<provider>` for one by DNS-01.
pub(crate) fn route(text: &str) -> RouteSpec {
    let (domain, provider) = text.split_once('@').unwrap_or((text, ""));
    RouteSpec {
        domain: domain.to_owned(),
        path: String::new(),
        target: None,
        tls: TlsMode::Auto,
        challenge: challenge(Some(provider).filter(|name| !name.is_empty())),
        shared_with: BTreeSet::new(),
        options: RouteOptions::default(),
    }
}

fn challenge(provider: Option<&str>) -> Challenge {
    provider.map_or(Challenge::Http, |name| Challenge::Dns(name.to_owned()))
}

pub(crate) fn command(state: &State, line: &Line<'_>) -> Command {
    let term = line.number("term").unwrap_or(1);
    Command::Acme(Box::new(AcmeStep { term, change: change(state, line) }))
}

fn change(state: &State, line: &Line<'_>) -> AcmeChange {
    let (directory, contact) = (DIRECTORY.to_owned(), "ops@example".to_owned());
    let url = format!("{DIRECTORY}/{}", line.option("order").unwrap_or("order-1"));
    let order = url.clone();
    let domain = || line.word(2).to_owned();
    match line.word(1) {
        "account" => {
            let credentials = SecretText::new("{}");
            AcmeChange::Account { directory, contact, url: "account-1".to_owned(), credentials }
        }
        "account-lost" => {
            AcmeChange::AccountLost { directory, contact, url: "account-1".to_owned() }
        }
        "hold" => AcmeChange::Hold { directory, contact, until: WallMs(2_000_000_000_000) },
        "begin" => begin(line, directory, contact),
        "preflighted" => AcmeChange::Preflighted { domain: domain() },
        "not-replacing" => AcmeChange::NotReplacing { domain: domain() },
        "no-account" => AcmeChange::AccountFailed {
            directory,
            contact,
            detail: "this mail address is not welcome".to_owned(),
            retry_at: WallMs(1_900_000_000_000),
        },
        "clock" => {
            let (authority, cluster) = (WallMs(1_800_000_000_000), WallMs(1_700_000_000_000));
            let suspicion = line.has("off").then_some(ClockSuspicion { authority, cluster });
            AcmeChange::Clock { directory, contact, suspicion }
        }
        "advice" => AcmeChange::Advice { domain: domain(), advice: advice(state, line) },
        "record-removed" => {
            AcmeChange::RecordRemoved { domain: domain(), token: format!("token-{}", line.word(2)) }
        }
        "ordered" => AcmeChange::Ordered { domain: domain(), url },
        "challenge" => AcmeChange::Challenge {
            domain: domain(),
            order,
            url: format!("{url}/challenge"),
            token: format!("token-{}", line.word(2)),
            key_authorisation: "token.thumb".to_owned(),
            record: line.option("record").map(str::to_owned),
        },
        "validating" => AcmeChange::Validating { domain: domain(), order },
        "finalizing" => {
            let key = SecretText::new(line.option("key").unwrap_or("key-1"));
            AcmeChange::Finalizing { domain: domain(), order, key }
        }
        "issued" => AcmeChange::Issued {
            domain: domain(),
            order,
            chain: "chain".to_owned(),
            not_before: WallMs(1_700_000_000_000),
            not_after: WallMs(1_900_000_000_000),
        },
        "failed" => AcmeChange::Failed {
            domain: domain(),
            order: Some(order),
            class: "validation".to_owned(),
            detail: "nobody answers".to_owned(),
            retry_at: WallMs(1_900_000_000_000),
        },
        "sweep" => AcmeChange::Sweep,
        other => panic!("no change is called {other}"),
    }
}

fn begin(line: &Line<'_>, directory: String, contact: String) -> AcmeChange {
    let is_staging = line.has("staging");
    let kind = if is_staging { CaKind::Staging } else { CaKind::Custom };
    AcmeChange::Begin {
        domain: line.word(2).to_owned(),
        directory,
        contact,
        kind: if line.has("production") { CaKind::Production } else { kind },
        challenge: challenge(line.option("dns")),
        replaces: line.option("replaces").map(str::to_owned),
        preflight: line.has("preflight"),
        counted: line.has("counted"),
    }
}

fn advice(state: &State, line: &Line<'_>) -> RenewalAdvice {
    let known = state.certificates.get(line.word(2)).and_then(|known| known.issued.as_ref());
    let current = known.map_or(WallMs(0), |issued| issued.issued_at);
    RenewalAdvice {
        of: line.number("of").map_or(current, WallMs),
        id: "aki.serial".to_owned(),
        window: Some(RenewalWindow {
            start: WallMs(1_800_000_000_000),
            end: WallMs(1_810_000_000_000),
            chosen_at: WallMs(1_805_000_000_000),
            explanation: None,
        }),
        next_poll: WallMs(1_790_000_000_000),
    }
}

pub(crate) fn summary(state: &State) -> String {
    let mut text = String::new();
    for row in jaco_state::certificates(state) {
        text.push_str(&format!(
            "{} {} by {} error {}\n",
            row.domain,
            row.state,
            row.environment.unwrap_or("nobody"),
            row.last_error.as_deref().unwrap_or("none")
        ));
    }
    for token in state.challenge_tokens.values() {
        let ended = if token.expires_at.is_some() { "ended" } else { "live" };
        let record = token.record.as_ref();
        let record = record.map_or(String::new(), |it| format!(" {} by {}", it.value, it.provider));
        text.push_str(&format!("{} of {} {ended}{record}\n", token.token, token.domain));
    }
    for standing in state.acme_standings.values() {
        let n_counted: usize = state.certificates.values().map(|known| known.counted.len()).sum();
        text.push_str(&format!(
            "standing: {} orders, {n_counted} certificates, clock {}, account {}\n",
            standing.orders.len(),
            if standing.clock.is_some() { "off" } else { "good" },
            standing.failure.as_ref().map_or("not refused".to_owned(), |failure| {
                format!("refused {} times", failure.attempts)
            })
        ));
    }
    text
}
