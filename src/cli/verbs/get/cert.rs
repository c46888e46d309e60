//! `jaco get certs` and `jaco get cert`.

use super::block;
use crate::cli::client::{Call, Client, escape};
use crate::cli::output::{Table, show, state};
use crate::cli::{Globals, Outcome, time};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::CertificateView;

/// list certificates of the front door
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "certs")]
pub(super) struct Certs {}

/// show the certificate of a domain; without one list all
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "cert")]
pub(super) struct Cert {
    /// domain, such as shop.example.com
    #[argh(positional)]
    domain: Option<String>,
}

/// Runs `get certs`.
pub(super) fn list(globals: &Globals, client: &Client) -> Outcome {
    let rows: Vec<CertificateView> = client.call(&Call::get("/v1/certificates"))?;
    show(globals, &rows, || table(globals, &rows, time::now()));
    Ok(0)
}

/// Runs `get cert`.
pub(super) fn one(globals: &Globals, client: &Client, verb: &Cert) -> Outcome {
    let Some(domain) = &verb.domain else { return list(globals, client) };
    let path = format!("/v1/certificates/{}", escape(domain));
    let view: CertificateView = client.call(&Call::get(path))?;
    show(globals, &view, || details(globals, &view, time::now()));
    Ok(0)
}

fn table(globals: &Globals, rows: &[CertificateView], now: u64) -> String {
    let headings =
        ["DOMAIN", "STATE", "ENVIRONMENT", "ISSUER", "NOT_AFTER", "NEXT_ATTEMPT", "LAST_ERROR"];
    let mut table = Table::new(&headings);
    for row in rows {
        table.row([
            row.domain.clone(),
            state(globals, &row.state),
            row.environment.clone(),
            row.issuer.clone().unwrap_or_default(),
            moment(row.not_after.as_deref(), now),
            moment(row.next_attempt_at.as_deref(), now),
            row.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.fit(globals.width())
}

fn details(globals: &Globals, view: &CertificateView, now: u64) -> String {
    let step = view.step.as_deref().filter(|step| *step != "issued").unwrap_or_default();
    let error = match (&view.last_error, &view.reason) {
        (Some(error), Some(reason)) => format!("{reason}: {error}"),
        (error, _) => error.clone().unwrap_or_default(),
    };
    let mut text = block(&[
        ("Domain", view.domain.clone()),
        ("State", state(globals, &view.state)),
        ("Step", step.to_owned()),
        ("Source", view.source.clone()),
        ("Environment", view.environment.clone()),
        ("Issuer", view.issuer.clone().unwrap_or_default()),
        ("Names", view.names.join(", ")),
        ("Not before", view.not_before.clone().unwrap_or_default()),
        ("Not after", moment(view.not_after.as_deref(), now)),
        ("Last renewal at", view.last_renewal_at.clone().unwrap_or_default()),
        ("Deployments", view.deployments.join(", ")),
        ("Failures", if view.failures > 0 { view.failures.to_string() } else { String::new() }),
        ("Last error", error),
        ("Next attempt", moment(view.next_attempt_at.as_deref(), now)),
    ]);
    if let Some(alarm) = &view.alarm {
        text.push_str(&format!("\nWarning: {alarm}\n"));
    }
    text
}

/// A moment and how far it is from now.
fn moment(at: Option<&str>, now: u64) -> String {
    at.map(|at| format!("{at} ({})", time::distance(at, now))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> CertificateView {
        CertificateView {
            domain: "shop.test".into(),
            environment: "prod".into(),
            not_after: Some("2026-03-01T00:00:00Z".into()),
            last_renewal_at: Some("2025-12-01T00:00:00Z".into()),
            state: "failed".into(),
            issuer: Some("R13".into()),
            names: vec!["shop.test".into()],
            not_before: Some("2025-12-01T00:00:00Z".into()),
            source: "auto".into(),
            deployments: vec!["shop".into(), "blog".into()],
            step: Some("backoff".into()),
            failures: 2,
            reason: Some("validation".into()),
            last_error: Some("nobody answers on port 80".into()),
            next_attempt_at: Some("2026-02-20T00:30:00Z".into()),
            alarm: Some("its renewal is overdue".into()),
        }
    }

    fn now() -> u64 {
        jaco_model::WallMs::parse_rfc3339("2026-02-20T00:00:00Z").unwrap().0
    }

    #[test]
    fn a_list_says_until_when_and_why_not() {
        let wanted = "\
DOMAIN     STATE    ENVIRONMENT  ISSUER  NOT_AFTER                     NEXT_ATTEMPT                    LAST_ERROR
shop.test  FAILED   prod         R13     2026-03-01T00:00:00Z (in 9d)  2026-02-20T00:30:00Z (in 30m)  nobody answers on port 80
new.test   PENDING  unknown      -       -                             -                               -
";
        let new = CertificateView {
            domain: "new.test".into(),
            environment: "unknown".into(),
            state: "pending".into(),
            ..CertificateView::default()
        };
        let text = table(&Globals::plain(), &[view(), new], now());
        let squeezed = |text: &str| {
            let lines =
                text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&text), squeezed(wanted));
    }

    #[test]
    fn one_certificate_is_a_block_with_its_warning() {
        let text = details(&Globals::plain(), &view(), now());
        for line in [
            "Domain:           shop.test",
            "Step:             backoff",
            "Not after:        2026-03-01T00:00:00Z (in 9d)",
            "Deployments:      shop, blog",
            "Last error:       validation: nobody answers on port 80",
            "Next attempt:     2026-02-20T00:30:00Z (in 30m)",
            "Warning: its renewal is overdue",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
