//! The name of the deployment.

use super::LoadOptions;
use super::extends::text_of;
use super::session::Session;
use crate::node::{Node, Position};
use crate::problem::{Problem, Reason};
use jaco_model::DeploymentName;
use jaco_model::name::{is_deployment_name, normalise_deployment_name};
use std::path::Path;

/// A deployment's name and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChoice {
    /// The name.
    pub name: DeploymentName,
    /// Written by the user, on the command line or in a file; else made from a directory's name.
    pub explicit: bool,
}

/// The first name of: flag, overlay, `x-jaco`, compose, directory. A bad one is a fault.
pub(crate) fn choose(
    session: &mut Session<'_>,
    options: &LoadOptions,
    overlay: Option<&Node>,
    compose: &Node,
    directory: &Path,
) -> Option<NameChoice> {
    let extension = compose.get("x-jaco");
    let written = [
        (options.name.clone().map(|name| (name, nowhere(compose))), "--name"),
        (text_of(overlay.and_then(|overlay| overlay.get("deployment"))), "deployment"),
        (text_of(extension.and_then(|x| x.get("deployment"))), "x-jaco.deployment"),
        (text_of(compose.get("name")), "name"),
    ];
    for (choice, path) in written {
        if let Some((name, at)) = choice {
            return explicit(session, &name, at, path);
        }
    }
    let derived = directory.file_name().and_then(|name| name.to_str());
    let Some(name) = derived.and_then(normalise_deployment_name) else {
        let message = format!(
            "the directory name {} gives no deployment name; pass --name",
            derived.unwrap_or("/")
        );
        session.error(Problem::invalid(nowhere(compose), "name", Reason::Required, message));
        return None;
    };
    Some(NameChoice { name, explicit: false })
}

fn explicit(session: &mut Session<'_>, name: &str, at: Position, path: &str) -> Option<NameChoice> {
    if is_deployment_name(name) {
        return Some(NameChoice { name: DeploymentName::new(name), explicit: true });
    }
    let message = format!(
        "`{}` is no deployment name: at most 40 of a-z, 0-9, `-` and `_`, a letter or digit at \
         both ends, and not jaco, internal, tasks or localhost",
        name.escape_debug()
    );
    let mut problem = Problem::invalid(at, path, Reason::Format, message);
    problem.suggestion = normalise_deployment_name(name).map(|name| name.as_str().to_owned());
    session.error(problem);
    None
}

/// The compose file as a whole.
fn nowhere(compose: &Node) -> Position {
    Position { file: compose.at.file, line: 0, column: 0 }
}
