//! `GET /v1/logs`: the lines of many replicas, merged as they arrive.

use crate::answer::Answer;
use crate::backend::{LogQuery, LogStream};
use crate::rows::hostname;
use crate::server::Api;
use crate::stream::ndjson;
use crate::target::Target;
use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use futures_util::stream::{self, SelectAll, StreamExt};
use jaco_model::entity::Instance;
use jaco_model::view::{ErrorBody, LogLine};
use jaco_model::{ErrorCode, Fault, InstanceId, WallMs};
use jaco_state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// Query of `GET /v1/logs`; times in milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogsQuery {
    target: String,
    #[serde(default)]
    follow: bool,
    since: Option<u64>,
    until: Option<u64>,
    tail: Option<u64>,
    #[serde(default)]
    previous: bool,
}

/// One line of the answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line {
    Log(LogLine),
    Failed(ErrorBody),
}

impl From<Result<LogLine, Fault>> for Line {
    fn from(line: Result<LogLine, Fault>) -> Line {
        match line {
            Ok(line) => Line::Log(line),
            Err(error) => Line::Failed(ErrorBody { error, errors: Vec::new() }),
        }
    }
}

/// `GET /v1/logs`
pub(crate) async fn logs(api: Data<Api>, query: Query<LogsQuery>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let target = Target::parse(&state, &query.target)?;
    let wanted = LogQuery {
        follow: query.follow,
        since: query.since.map(WallMs),
        until: query.until.map(WallMs),
        tail: query.tail,
    };
    let mut merged = Merged::new(api.clone(), target, wanted);
    merged.join(&state, query.previous);
    if merged.known.is_empty() && !query.follow {
        return Err(nothing(&query).into());
    }
    let lines = if query.follow {
        merged.follow(api.backend.state()).left_stream()
    } else {
        merged.lines.right_stream()
    };
    Ok(ndjson(lines.map(Line::from)))
}

/// No container to read from.
fn nothing(query: &LogsQuery) -> Fault {
    let what = if query.previous { "no ended container" } else { "no container yet" };
    Fault::new(ErrorCode::NotFound, format!("{} has {what}", query.target))
        .with("kind", "container")
        .with("name", &query.target)
}

/// The logs of all instances of a target; new instances join by themselves.
struct Merged {
    api: Data<Api>,
    target: Target,
    query: LogQuery,
    known: BTreeSet<InstanceId>,
    lines: SelectAll<LogStream>,
}

impl Merged {
    fn new(api: Data<Api>, target: Target, query: LogQuery) -> Merged {
        Merged { api, target, query, known: BTreeSet::new(), lines: SelectAll::new() }
    }

    /// Begins to read every matching instance that is not read yet.
    fn join(&mut self, state: &State, previous: bool) {
        if previous {
            let past: Vec<Instance> = state
                .replicas
                .values()
                .filter_map(|replica| replica.past.last().cloned())
                .collect();
            past.iter().for_each(|instance| self.add(state, instance));
            return;
        }
        for instance in state.instances.values() {
            self.add(state, instance);
        }
    }

    fn add(&mut self, state: &State, instance: &Instance) {
        let Instance { deployment, service, id, .. } = instance;
        let exact = match &self.target {
            Target::Instance(wanted) => wanted == id,
            other => other.holds(deployment, service, &id.replica),
        };
        let made = instance.status.container_id.is_some();
        if exact && made && self.known.insert(id.clone()) {
            let host = hostname(state, &instance.node);
            self.lines.push(self.api.backend.logs(instance, &host, self.query.clone()));
        }
    }

    /// Lines until the client goes away.
    fn follow(
        self,
        states: watch::Receiver<Arc<State>>,
    ) -> impl futures_util::Stream<Item = Result<LogLine, Fault>> {
        stream::unfold((self, states), |(mut merged, mut states)| async move {
            loop {
                let next = async {
                    match merged.lines.next().await {
                        Some(line) => line,
                        // Nothing to read from now: only a new state can change that.
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    line = next => return Some((line, (merged, states))),
                    changed = states.changed() => {
                        if changed.is_err() {
                            return None;
                        }
                        // A replica that joins late is read from its start, not from its tail.
                        merged.query.tail = None;
                        let state = states.borrow_and_update().clone();
                        merged.join(&state, false);
                    }
                }
            }
        })
    }
}
