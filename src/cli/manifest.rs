//! The files of a deployment as the client sees them: found, resolved, checked and made ready to
//! send.

use super::client::{Call, Client};
use super::output::{complain, notice};
use super::{Failure, Globals};
use jaco_manifest::node::Position;
use jaco_manifest::{
    FileKind, Files, Input, LoadOptions, Loaded, ObjectSource, Outcome, PathKind, Problem,
    Problems, Variables,
};
use jaco_model::ErrorCode;
use jaco_model::entity::Origin;
use jaco_model::spec::SecretText;
use jaco_model::view::{ClusterView, DocumentsRequest, Warning};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Flags that shape the input, the same for every verb that takes a PATH.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputFlags {
    /// PATH.
    pub(crate) path: Option<String>,
    /// `--compose`.
    pub(crate) compose: Vec<String>,
    /// `--jaco`.
    pub(crate) jaco: Option<String>,
    /// `--name`.
    pub(crate) name: Option<String>,
    /// `--profile`.
    pub(crate) profile: Vec<String>,
    /// `--env-file`.
    pub(crate) env_file: Vec<String>,
    /// `--env`.
    pub(crate) env: Vec<String>,
    /// `--strict`.
    pub(crate) strict: bool,
}

/// A deployment that passed every check that needs no server.
pub(crate) struct Checked {
    /// What was loaded.
    pub(crate) loaded: Loaded,
    /// What it means.
    pub(crate) outcome: Outcome,
    /// What to send.
    pub(crate) documents: DocumentsRequest,
}

/// The files of the operating system.
pub(crate) struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // One byte over the limit is enough to see that a file is too large.
        let limit = jaco_manifest::MAX_BYTES as u64 + 1;
        let mut bytes = Vec::new();
        if path == Path::new("-") {
            io::stdin().take(limit).read_to_end(&mut bytes)?;
        } else {
            std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn kind(&self, path: &Path) -> io::Result<FileKind> {
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_file() => Ok(FileKind::File),
            Ok(meta) if meta.is_dir() => Ok(FileKind::Directory),
            Ok(_) => Ok(FileKind::Other),
            Err(error) if is_absent(&error) => Ok(FileKind::Missing),
            Err(error) => Err(error),
        }
    }

    fn is_dir_empty(&self, path: &Path) -> io::Result<bool> {
        Ok(std::fs::read_dir(path)?.next().is_none())
    }
}

/// Nothing is there, or something above it is not a directory.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Loads and checks; problems are returned, not printed.
pub(crate) fn check(flags: &InputFlags, bind_paths: &[String]) -> Result<Checked, Problems> {
    let current_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let options = LoadOptions {
        path: PathBuf::from(flags.path.as_deref().unwrap_or(".")),
        current_dir,
        compose: flags.compose.iter().map(PathBuf::from).collect(),
        overlay: flags.jaco.as_ref().map(PathBuf::from),
        name: flags.name.clone(),
        profiles: flags.profile.clone(),
        env_files: flags.env_file.iter().map(PathBuf::from).collect(),
        env: flags.env.clone(),
        process_env: process_env(),
        strict: flags.strict,
    };
    let loaded = jaco_manifest::load(&options, &OsFiles)?;
    let (outcome, Contents { secrets, configs }) = compile_with_contents(&loaded, bind_paths)?;
    let documents = DocumentsRequest {
        name: loaded.name.name.to_string(),
        compose: jaco_manifest::emit(&loaded.compose),
        jaco: loaded.overlay.as_ref().map(jaco_manifest::emit).unwrap_or_default(),
        secrets,
        configs,
    };
    Ok(Checked { loaded, outcome, documents })
}

/// The caller's environment; only what `--env KEY` names is used.
fn process_env() -> Variables {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Largest content of a secret or config, in bytes.
const CONTENT_MAX: usize = 512 << 10;

/// Content of secrets and configs that routes refer to, by name.
#[derive(Default)]
struct Contents {
    secrets: BTreeMap<String, SecretText>,
    configs: BTreeMap<String, String>,
}

/// Compiles, reads the secrets and configs that routes refer to, and compiles again with them.
fn compile_with_contents(
    loaded: &Loaded,
    bind_paths: &[String],
) -> Result<(Outcome, Contents), Problems> {
    let mut contents = Contents::default();
    let outcome = compile(loaded, bind_paths, &contents);
    let needs_none = outcome.wanted.is_empty() && outcome.wanted_configs.is_empty();
    if needs_none || !outcome.problems.errors.is_empty() {
        return Ok((outcome, contents));
    }
    let mut problems = Problems { files: loaded.problems.files.clone(), ..Problems::default() };
    let mut read = |word: &str, name: &String, source| match read_content(loaded, source) {
        Ok(text) => Some((name.clone(), text)),
        Err(why) => {
            let message = format!("{word} \"{name}\": {why}");
            let path = format!("{word}s.{name}");
            let code = ErrorCode::ValidationFailed;
            problems.errors.push(Problem::new(code, Position::default(), &path, message));
            None
        }
    };
    for (name, source) in &outcome.wanted {
        let text = read("secret", name, source);
        contents.secrets.extend(text.map(|(name, text)| (name, SecretText::new(text))));
    }
    for (name, source) in &outcome.wanted_configs {
        contents.configs.extend(read("config", name, source));
    }
    problems.finish();
    if !problems.errors.is_empty() {
        return Err(problems);
    }
    Ok((compile(loaded, bind_paths, &contents), contents))
}

fn read_content(loaded: &Loaded, source: &ObjectSource) -> Result<String, String> {
    let bytes = match source {
        ObjectSource::Content(text) => return Ok(text.clone()),
        ObjectSource::Environment(variable) => {
            return std::env::var(variable)
                .map_err(|_| format!("the environment variable {variable} is not set"));
        }
        ObjectSource::File(path) => {
            let path = loaded.compose_dir.join(path);
            OsFiles
                .read(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?
        }
    };
    if bytes.len() > CONTENT_MAX {
        return Err(format!("it has {} bytes; the most are {CONTENT_MAX}", bytes.len()));
    }
    String::from_utf8(bytes).map_err(|_| "it is no text".to_owned())
}

fn compile(loaded: &Loaded, bind_paths: &[String], contents: &Contents) -> Outcome {
    let look = |path: &str| path_kind(&loaded.compose_dir.join(path));
    let name = loaded.name.name.to_string();
    let mut outcome = jaco_manifest::compile(&Input {
        overlay: loaded.overlay.as_ref(),
        name: Some(&name),
        look: Some(&look),
        disabled: loaded.disabled_services.iter().cloned().collect(),
        bind_paths: bind_paths.to_vec(),
        secrets: contents.secrets.clone(),
        configs: contents.configs.clone(),
        ..Input::new(&loaded.compose, loaded.problems.files.clone())
    });
    outcome.problems.warnings.extend(loaded.problems.warnings.iter().cloned());
    outcome.problems.finish();
    outcome
}

/// What is at a path beside the compose file.
fn path_kind(path: &Path) -> PathKind {
    match OsFiles.kind(path) {
        Ok(FileKind::File) => PathKind::File(std::fs::metadata(path).map_or(0, |meta| meta.len())),
        Ok(FileKind::Directory) => match OsFiles.is_dir_empty(path) {
            Ok(true) => PathKind::EmptyDir,
            Ok(false) | Err(_) => PathKind::NonEmptyDir,
        },
        Ok(FileKind::Missing) => PathKind::Missing,
        Ok(FileKind::Other) | Err(_) => PathKind::Other,
    }
}

/// Loads and checks for a verb that goes on to the server: prints notices and warnings, and
/// refuses errors, warnings under `--strict`, and what this version does not run.
pub(crate) fn accept(globals: &Globals, flags: &InputFlags) -> Result<Checked, Failure> {
    let checked = check(flags, &free_bind_paths(globals));
    let mut checked = checked.map_err(|problems| Failure::manifest(problems.faults()))?;
    let problems = &mut checked.outcome.problems;
    if flags.strict {
        problems.errors.append(&mut problems.warnings);
    }
    problems.errors.append(&mut checked.outcome.not_in_version);
    problems.finish();
    if !problems.errors.is_empty() {
        return Err(Failure::manifest(problems.faults()));
    }
    for text in &checked.loaded.notices {
        notice(globals, &format!("notice: {text}"));
    }
    warn(globals, &checked.outcome.problems);
    if !checked.loaded.name.explicit {
        notice(
            globals,
            &format!("Deployment: {} (named after its directory)", checked.documents.name),
        );
    }
    Ok(checked)
}

/// The directories that the daemon lets services bind; the default ones while none answers.
fn free_bind_paths(globals: &Globals) -> Vec<String> {
    let asked = Client::new(globals)
        .and_then(|client| client.call::<ClusterView>(&Call::get("/v1/cluster")));
    match asked {
        Ok(view) if view.initialized => view.free_bind_paths,
        // Whoever goes on to the daemon hears of its absence there.
        Ok(_) | Err(_) => default_bind_paths(),
    }
}

/// The directories that services may bind on a daemon that is configured no other way.
pub(crate) fn default_bind_paths() -> Vec<String> {
    jaco_manifest::DEFAULT_BIND_PATHS.map(str::to_owned).to_vec()
}

/// Prints warnings in the form of errors.
pub(crate) fn warn(globals: &Globals, problems: &Problems) {
    if globals.quiet {
        return;
    }
    for problem in &problems.warnings {
        complain(&format!("warning: {}", problem.text(problems.file(problem.at.file))));
    }
}

/// Prints those of the server's warnings that [`accept`] did not print: both compile the same
/// documents, but only the server looks at images.
pub(crate) fn warn_more(globals: &Globals, local: &Problems, warnings: &[Warning]) {
    let told = |warning: &Warning| {
        local.warnings.iter().any(|problem| {
            warning.detail("path").unwrap_or_default() == problem.path
                && warning.message.ends_with(&problem.message)
        })
    };
    for warning in warnings.iter().filter(|warning| !told(warning)) {
        notice(globals, &format!("warning: {}", warning.message));
    }
}

/// Where a deployment is applied from, to notice a name used twice by mistake.
pub(crate) fn origin(checked: &Checked) -> Origin {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Origin {
        directory: checked.loaded.compose_dir.display().to_string(),
        user: format!("{user}@{host}"),
    }
}

/// The flags that shape the input, as every verb spells them.
macro_rules! input_flags {
    ($verb:expr) => {
        $crate::cli::manifest::InputFlags {
            path: $verb.path.clone(),
            compose: $verb.compose.clone(),
            jaco: $verb.jaco.clone(),
            name: $verb.name.clone(),
            profile: $verb.profile.clone(),
            env_file: $verb.env_file.clone(),
            env: $verb.env.clone(),
            strict: $verb.strict,
        }
    };
}
pub(crate) use input_flags;
