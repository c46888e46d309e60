//! Which service needs which: dependencies, links and shared namespaces, without cycles.

use super::cx::{Cx, Place, Spot};
use super::depends::{condition_word, started};
use super::resolve::restart;
use super::service::Draft;
use super::service_index::Services;
use crate::{Problem, Problems, Reason};
use jaco_model::spec::{Condition, Dependency, RestartCondition};
use jaco_model::{ErrorCode, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// The dependencies of one service that a spec keeps: absent optional ones are dropped.
pub(super) fn dependencies(cx: &mut Cx, draft: &Draft, services: &Services<'_>) -> Vec<Dependency> {
    let mut kept: BTreeMap<ServiceName, Dependency> = BTreeMap::new();
    let links =
        draft.links.iter().map(|link| Spot::new(started(link.value.service.as_str()), &link.place));
    for spot in draft.depends_on.iter().cloned().chain(links) {
        if !kept.contains_key(&spot.value.service) && check(cx, draft, &spot, services) {
            kept.insert(spot.value.service.clone(), spot.value);
        }
    }
    kept.into_values().collect()
}

fn check(cx: &mut Cx, draft: &Draft, spot: &Spot<Dependency>, services: &Services<'_>) -> bool {
    let dependency = &spot.value;
    let target = &dependency.service;
    let Place { at, path } = &spot.place;
    if *target == draft.name {
        let message = format!("{target} cannot depend on itself");
        cx.push(
            Problem::new(ErrorCode::InvalidDependsOn, *at, path, message)
                .with("service", &draft.name)
                .with("cycle", format!("{target} -> {target}")),
        );
        return false;
    }
    let Some(other) = services.enabled(target) else {
        if !dependency.required {
            cx.warn(&spot.place, format!("{target} is not part of this run, not waited for"));
            return false;
        }
        let problem = missing(cx, draft, spot, services);
        cx.push(problem);
        return false;
    };
    if dependency.condition == Condition::ServiceCompletedSuccessfully && never_ends(other) {
        let message = format!(
            "{target} never ends: service_completed_successfully needs restart: no or \
             on-failure, or a job"
        );
        cx.push(
            Problem::new(ErrorCode::UnsupportedDependsOnCondition, *at, path, message)
                .with("service", &draft.name)
                .with("depends_on", target)
                .with("condition", condition_word(dependency.condition)),
        );
    }
    true
}

fn never_ends(draft: &Draft) -> bool {
    let job = draft.deploy.is_job() || draft.options.is_job();
    !job && restart(draft).condition == RestartCondition::Any
}

fn missing(cx: &Cx, draft: &Draft, spot: &Spot<Dependency>, services: &Services<'_>) -> Problem {
    let target = &spot.value.service;
    let message = if services.is_disabled(target) {
        format!("{target} is disabled by its profiles; enable one or set required: false")
    } else {
        format!("no service \"{target}\" in this deployment")
    };
    let Place { at, path } = &spot.place;
    let mut problem = Problem::new(ErrorCode::UnknownDependsOnService, *at, path, message)
        .with("service", &draft.name)
        .with("depends_on", target);
    problem.suggestion = cx.nearest(target.as_str(), services.names());
    problem
}

/// Checks the targets of shared namespaces and of `volumes_from`.
pub(super) fn check_joins(cx: &mut Cx, draft: &Draft, services: &Services<'_>) {
    let joins = draft.joins.iter().map(|join| (&join.value.service, &join.place));
    let sources = draft.volumes_from.iter().map(|from| (&from.value.service, &from.place));
    for (service, place) in joins.chain(sources) {
        if *service == draft.name {
            cx.fail(place, Reason::Conflict, format!("{service} cannot refer to itself"));
        } else if services.enabled(service).is_none() {
            unknown_service(cx, service.as_str(), place, services);
        }
    }
}

/// Reports `unknown_service` with the nearest name.
pub(super) fn unknown_service(cx: &mut Cx, name: &str, place: &Place, services: &Services<'_>) {
    let message = if services.is_disabled(&ServiceName::new(name)) {
        format!("service \"{name}\" is disabled by its profiles")
    } else {
        format!("no service \"{name}\" in the compose file")
    };
    let mut problem = Problem::new(ErrorCode::UnknownService, place.at, &place.path, message)
        .with("service", name);
    problem.suggestion = cx.nearest(name, services.names());
    cx.push(problem);
}

type Edges<'d> = BTreeMap<&'d ServiceName, Vec<(&'d ServiceName, &'d Place)>>;

/// Reports each cycle once, with its path, at the entry that closes it.
pub(super) fn check_cycles(cx: &mut Cx, services: &Services<'_>) {
    let mut edges: Edges<'_> = services.iter().map(|draft| (&draft.name, Vec::new())).collect();
    for draft in services.iter() {
        let waits = draft.depends_on.iter().map(|spot| (&spot.value.service, &spot.place));
        let links = draft.links.iter().map(|spot| (&spot.value.service, &spot.place));
        let joins = draft.joins.iter().map(|spot| (&spot.value.service, &spot.place));
        let sources = draft.volumes_from.iter().map(|spot| (&spot.value.service, &spot.place));
        let all = waits.chain(links).chain(joins).chain(sources);
        let known = all.filter(|(to, _)| **to != draft.name && services.enabled(to).is_some());
        edges.entry(&draft.name).or_default().extend(known);
    }
    for _ in 0..Problems::MAX_REPORTED {
        let Some((cycle, place)) = find_cycle(&mut edges) else { return };
        let mut names: Vec<&str> = cycle.iter().map(|name| name.as_str()).collect();
        names.push(names[0]);
        let path = names.join(" -> ");
        let message = format!("services depend on each other: {path}");
        cx.push(
            Problem::new(ErrorCode::InvalidDependsOn, place.at, &place.path, message)
                .with("service", names[0])
                .with("cycle", &path),
        );
        for name in cycle {
            edges.remove(name);
        }
    }
}

/// Strips services that need nothing of the rest; what remains leads into a cycle.
fn find_cycle<'d>(edges: &mut Edges<'d>) -> Option<(Vec<&'d ServiceName>, &'d Place)> {
    strip_leaves(edges);
    let mut at = *edges.keys().next()?;
    let mut walked: Vec<&ServiceName> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut place = None;
    while seen.insert(at) {
        walked.push(at);
        let (next, entry) = edges.get(at)?.iter().find(|(to, _)| edges.contains_key(to))?;
        (at, place) = (*next, Some(*entry));
    }
    let start = walked.iter().position(|name| *name == at)?;
    Some((walked.split_off(start), place?))
}

/// Removes, again and again, what no longer needs anything that is left; linear in the edges.
fn strip_leaves(edges: &mut Edges<'_>) {
    let mut needed_by: BTreeMap<&ServiceName, Vec<&ServiceName>> = BTreeMap::new();
    let mut needs: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    for (from, targets) in &*edges {
        let left = targets.iter().filter(|(to, _)| edges.contains_key(to));
        needs.insert(from, left.clone().count());
        for (to, _) in left {
            needed_by.entry(to).or_default().push(from);
        }
    }
    let mut free: Vec<&ServiceName> =
        needs.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        edges.remove(name);
        for dependent in needed_by.remove(name).unwrap_or_default() {
            if let Some(count) = needs.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(dependent);
                }
            }
        }
    }
}
