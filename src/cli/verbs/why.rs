//! `jaco why`: the links between what is wanted and what is, with the first that is broken.

use crate::cli::client::{Call, Client};
use crate::cli::output::show;
use crate::cli::{Failure, Globals, Outcome};
use argh::{ArgsInfo, FromArgs};
use jaco_model::view::{WhyQuestion, WhyStep, WhyView};

/// Words before a subject that say what it is.
pub(super) const KINDS: [&str; 6] = ["cert", "name", "node", "path", "replica", "route"];

/// explain a replica, a node, a name, a path, a route or a certificate, link by link
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(
    subcommand,
    name = "why",
    example = "{command_name} shop-web-0",
    example = "{command_name} node node-2",
    example = "{command_name} name db --from shop-web-0",
    example = "{command_name} path shop-web-0 shop-db-0:5432",
    example = "{command_name} route shop.example.com/api",
    example = "{command_name} cert shop.example.com"
)]
pub(crate) struct Why {
    /// a replica, node or domain; or: name NAME, path FROM TO, node HOST, route DOMAIN[/PATH], cert
    /// DOMAIN. FROM and TO are replicas, TO also
    /// an IPv4 address, with :PORT or :PORT/udp if wanted
    #[argh(positional, arg_name = "SUBJECT")]
    words: Vec<String>,
    /// the replica that asks for the name
    #[argh(option)]
    from: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(globals: &Globals, verb: &Why) -> Outcome {
    let question = question(&verb.words, verb.from.as_deref())?;
    let client = Client::new(globals)?;
    let call = Call::get("/v1/why")
        .with_some("subject", question.subject)
        .with_some("node", question.node)
        .with_some("name", question.name)
        .with_some("route", question.route)
        .with_some("cert", question.cert)
        .with_some("from", question.from)
        .with_some("to", question.to);
    let view: WhyView = client.call(&call)?;
    show(globals, &view, || text(globals, &view));
    Ok(0)
}

/// What is asked; `<deployment>/<service>` stands for a replica everywhere.
fn question(words: &[String], from: Option<&str>) -> Result<WhyQuestion, Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let some = |text: &str| Some(text.to_owned());
    let mut question = WhyQuestion { from: from.map(str::to_owned), ..WhyQuestion::default() };
    match (words.as_slice(), from) {
        (["name", name], Some(_)) => question.name = some(name),
        // The asker may stand where that of a path stands.
        (["name", name, asker], None) => {
            (question.name, question.from) = (some(name), some(asker));
        }
        (["name", _], None) => {
            return Err(Failure::usage("a name is seen from somewhere: --from REPLICA"));
        }
        (["path", to], Some(_)) => question.to = some(to),
        (["path", source, to], None) => {
            (question.from, question.to) = (some(source), some(to));
        }
        (["route", route], None) => question.route = some(route),
        (["cert", domain], None) => question.cert = some(domain),
        (["node", node], None) => question.node = some(node),
        (["replica", subject], None) => question.subject = some(subject),
        ([subject], None) if !KINDS.contains(subject) => question.subject = some(subject),
        _ => {
            return Err(Failure::usage(
                "ask for REPLICA, DOMAIN, node HOST, name NAME --from REPLICA, path FROM TO[:PORT], \
                 route DOMAIN[/PATH], or cert DOMAIN",
            ));
        }
    }
    Ok(question)
}

/// The answer, the links in order, and what to do about the first that is broken.
fn text(globals: &Globals, view: &WhyView) -> String {
    let mut text = format!("{} {}: {}\n", view.kind, view.subject, view.summary);
    let width = view.chain.iter().map(|link| link.step.len()).max().unwrap_or_default();
    let mut is_first = true;
    for link in &view.chain {
        let mark = mark(globals, link, is_first);
        is_first &= link.ok;
        let code = link.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
        let (step, detail, source) = (&link.step, &link.detail, &link.source);
        text.push_str(&format!("{mark} {step:width$}  {code}{detail}"));
        if source != "state" {
            text.push_str(&format!("  [{source}]"));
        }
        text.push('\n');
    }
    if let Some(hint) = &view.hint {
        text.push_str(&format!("Fix: {hint}\n"));
    }
    text
}

/// A mark before a link: the first broken one stands out.
fn mark(globals: &Globals, link: &WhyStep, is_first: bool) -> String {
    let (mark, colour) = match (link.ok, is_first) {
        (true, _) => ("   ok  ", 32),
        (false, true) => ("-> FAIL", 31),
        (false, false) => ("   fail", 33),
    };
    match globals.is_coloured() {
        true => format!("\u{1b}[{colour}m{mark}\u{1b}[0m"),
        false => mark.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The query of a command line, or why there is none.
    fn asked(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let verb = match Why::from_args(&["why"], &words) {
            Ok(verb) => verb,
            Err(exit) => return exit.output,
        };
        match question(&verb.words, verb.from.as_deref()) {
            Ok(question) => serde_json::to_string(&question).unwrap(),
            Err(failure) => failure.fault().unwrap().message.clone(),
        }
    }

    #[test]
    fn each_kind_of_question_is_read() {
        for (typed, query) in [
            ("shop-web-0", r#"{"subject":"shop-web-0"}"#),
            ("replica name", r#"{"subject":"name"}"#),
            ("node node-1", r#"{"node":"node-1"}"#),
            ("shop.test", r#"{"subject":"shop.test"}"#),
            ("route shop.test/api", r#"{"route":"shop.test/api"}"#),
            ("cert shop.test", r#"{"cert":"shop.test"}"#),
            ("name db --from shop-web-0", r#"{"name":"db","from":"shop-web-0"}"#),
            ("name db shop-web-0", r#"{"name":"db","from":"shop-web-0"}"#),
            ("path shop-web-0 shop-db-0:5432", r#"{"from":"shop-web-0","to":"shop-db-0:5432"}"#),
            ("path --from shop-web-0 10.0.0.1", r#"{"from":"shop-web-0","to":"10.0.0.1"}"#),
        ] {
            assert_eq!(asked(typed), query, "{typed}");
        }
    }

    #[test]
    fn half_a_question_is_refused() {
        assert!(asked("name db").contains("--from"));
        for typed in [
            "",
            "path",
            "path a",
            "route",
            "cert",
            "node",
            "name",
            "shop-web-0 shop-db-0",
            "a --from b",
        ] {
            assert!(asked(typed).starts_with("ask for REPLICA"), "{typed}: {}", asked(typed));
        }
    }

    #[test]
    fn the_first_broken_link_stands_out() {
        let link = |step: &str, code: Option<&str>, source: &str| WhyStep {
            step: step.to_owned(),
            ok: code.is_none(),
            ts: None,
            code: code.map(str::to_owned),
            detail: "as found".to_owned(),
            source: source.to_owned(),
        };
        let view = WhyView {
            subject: "a to b".to_owned(),
            kind: "path".to_owned(),
            ok: false,
            summary: "broken at source_mesh: as found".to_owned(),
            chain: vec![
                link("source", None, "state"),
                link("source_mesh", Some("mesh_dead"), "node-1"),
                link("target_mesh", Some("mesh_dead"), "node-2"),
            ],
            hint: Some("mend it".to_owned()),
        };
        let wanted = "path a to b: broken at source_mesh: as found
   ok   source       as found
-> FAIL source_mesh  mesh_dead: as found  [node-1]
   fail target_mesh  mesh_dead: as found  [node-2]
Fix: mend it
";
        assert_eq!(text(&Globals::plain(), &view), wanted);
    }
}
