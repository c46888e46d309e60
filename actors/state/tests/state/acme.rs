//! Lines of scripts about automatic certificates: `acme <change> <domain> [term=N] [order=url]`.

use crate::script::Line;
use jaco_model::WallMs;
use jaco_model::command::{AcmeChange, AcmeStep, Command};
use jaco_model::entity::CaKind;
use jaco_model::spec::{Challenge, RouteOptions, RouteSpec, SecretText, TlsMode};
use std::collections::BTreeSet;

const DIRECTORY: &str = "https://ca.example/dir";

pub(crate) fn route(domain: &str) -> RouteSpec {
    RouteSpec {
        domain: domain.to_owned(),
        path: String::new(),
        target: None,
        tls: TlsMode::Auto,
        challenge: Challenge::Http,
        shared_with: BTreeSet::new(),
        options: RouteOptions::default(),
    }
}

pub(crate) fn command(line: &Line<'_>) -> Command {
    let term = line.number("term").unwrap_or(1);
    Command::Acme(Box::new(AcmeStep { term, change: change(line) }))
}

fn change(line: &Line<'_>) -> AcmeChange {
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
        "begin" => {
            let is_staging = line.has("staging");
            let kind = if is_staging { CaKind::Staging } else { CaKind::Custom };
            AcmeChange::Begin { domain: domain(), directory, contact, kind }
        }
        "ordered" => AcmeChange::Ordered { domain: domain(), url },
        "challenge" => AcmeChange::Challenge {
            domain: domain(),
            order,
            url: format!("{url}/challenge"),
            token: format!("token-{}", line.word(2)),
            key_authorisation: "token.thumb".to_owned(),
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

pub(crate) fn summary(state: &jaco_state::State) -> String {
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
        text.push_str(&format!("{} of {} {ended}\n", token.token, token.domain));
    }
    text
}
